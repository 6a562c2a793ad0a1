{{/* The table files/who-speaks-to-whom.yaml as rules of NetworkPolicies. */}}

{{/* Ports of a name in the table, as NetworkPolicyPorts. (dict "root" $ "port" "mesh") → JSON list; an empty one means every port. */}}
{{- define "fairlead.policyPorts" -}}
{{- $root := .root -}}
{{- $table := $root.Files.Get "files/who-speaks-to-whom.yaml" | fromYaml -}}
{{- $port := index $table.ports .port -}}
{{- $out := list -}}
{{- if kindIs "map" $port -}}
{{- range $protocol, $number := $port -}}{{- $out = append $out (dict "protocol" $protocol "port" (int $number)) -}}{{- end -}}
{{- else if eq $port "dnsPorts" -}}
{{- range $number := $root.Values.networkPolicy.dnsPorts -}}
{{- range $protocol := list "UDP" "TCP" -}}{{- $out = append $out (dict "protocol" $protocol "port" (int $number)) -}}{{- end -}}
{{- end -}}
{{- else if eq $port "listeners" -}}
{{- range include "fairlead.listeners" $root | fromJsonArray -}}{{- $out = append $out (dict "protocol" .protocol "port" (int .port)) -}}{{- end -}}
{{- else if eq $port "slices" -}}
{{- $media := $root.Values.media -}}
{{- $out = append $out (dict "protocol" "UDP" "port" (int $media.ports.base) "endPort" (int (sub (add $media.ports.base (mul $media.ports.count $media.maxReplicas)) 1))) -}}
{{- else if ne $port "any" -}}
{{- $numbers := index $root.Values.networkPolicy $port -}}
{{- if eq $port "redisPorts" -}}
{{- /* Those of the URL are meant whatever the list says. */ -}}
{{- range regexFindAll ":[0-9]+" $root.Values.redis.url -1 -}}{{- $numbers = append $numbers (trimPrefix ":" .) -}}{{- end -}}
{{- end -}}
{{- range $number := $numbers | toStrings | uniq -}}
{{- $ends := splitList "-" $number -}}
{{- $one := dict "protocol" "TCP" "port" (int (first $ends)) -}}
{{- if gt (len $ends) 1 -}}{{- $one = set $one "endPort" (int (last $ends)) -}}{{- end -}}
{{- $out = append $out $one -}}
{{- end -}}
{{- end -}}
{{- toJson $out -}}
{{- end }}

{{/* One end of a line of the table. (dict "root" $ "who" "media") → JSON: {"none": true} or {"peers": […]}; no peers is anybody. */}}
{{- define "fairlead.policyPeers" -}}
{{- $policy := .root.Values.networkPolicy -}}
{{- $ours := list "signaling" "media" "registrar" "admin" "operator" "redis" "test" -}}
{{- if and (eq .who "media") (eq .root.Values.media.exposure "hostNetwork") -}}
{{- /* Its packets come from a node's address, and go there: no selector of pods knows them. */ -}}
{{- toJson (dict "peers" list) -}}
{{- else if has .who $ours -}}
{{- toJson (dict "peers" (list (dict "podSelector" (dict "matchLabels" (include "fairlead.selector" (dict "root" .root "role" .who) | fromYaml))))) -}}
{{- else if eq .who "monitoring" -}}
{{- toJson (dict "peers" $policy.metricsFrom) -}}
{{- else if eq .who "people" -}}
{{- toJson (dict "peers" $policy.adminFrom "none" (empty $policy.adminFrom)) -}}
{{- else if eq .who "store" -}}
{{- toJson (dict "peers" list "none" .root.Values.redis.enabled) -}}
{{- else if eq .who "otlp" -}}
{{- toJson (dict "peers" list "none" (empty .root.Values.telemetry.otlpEndpoint)) -}}
{{- else if has .who (list "world" "dns" "api") -}}
{{- toJson (dict "peers" list) -}}
{{- else -}}
{{- fail (printf "who-speaks-to-whom: %s is nobody" .who) -}}
{{- end -}}
{{- end }}
