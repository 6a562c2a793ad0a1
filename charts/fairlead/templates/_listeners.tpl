{{/* SIP listeners and ports of RTP. */}}

{{/* Listeners that are there, as a list of dicts: id, name, protocol, port, nodePort; UDP first. */}}
{{- define "fairlead.listeners" -}}
{{- $all := list -}}
{{- range $protocol := list "UDP" "TCP" -}}
{{- range $id, $listener := $.Values.signaling.listeners -}}
{{- if and (eq $listener.protocol $protocol) (dig "enabled" true $listener) -}}
{{- $all = append $all (dict "id" $id "name" (printf "sip-%s" $id) "protocol" $protocol "port" (int $listener.port) "nodePort" (int (dig "nodePort" 0 $listener))) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson $all -}}
{{- end }}

{{/* First port of an ordinal. */}}
{{- define "fairlead.firstPort" -}}
{{- add .root.Values.media.ports.base (mul .ordinal .root.Values.media.ports.count) -}}
{{- end }}

{{- define "fairlead.mediaServices" -}}
{{- if has .Values.media.exposure (list "nodePort" "loadBalancer") -}}yes{{- end -}}
{{- end }}

{{- define "fairlead.podIp" -}}
{{- if .Values.ipv6 -}}[$(POD_IP)]{{- else -}}$(POD_IP){{- end -}}
{{- end }}

{{- define "fairlead.registrarAddress" -}}
{{ include "fairlead.fullname" . }}-registrar:7001
{{- end }}

{{/* Families of a Service. */}}
{{- define "fairlead.families" -}}
{{- with .ipFamilyPolicy }}
ipFamilyPolicy: {{ . }}
{{- end }}
{{- with .ipFamilies }}
ipFamilies:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
