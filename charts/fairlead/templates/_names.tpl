{{/* Names and labels. Names are fixed: the operator role, admin and kubectl-sip make the same from release and chart. */}}

{{/* What labels call it, whatever objects are called: the operator role and kubectl sip look for it. */}}
{{- define "fairlead.name" -}}
fairlead
{{- end }}

{{/* At most 40 characters: the longest suffix that we hang on (-tls-registrar, a pod's ordinal, a revision) still fits 63. */}}
{{- define "fairlead.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* What a selector holds. (dict "root" $ "role" "media") */}}
{{- define "fairlead.selector" -}}
app.kubernetes.io/name: {{ include "fairlead.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .role }}
{{- end }}

{{/* What a pod of a template carries: nothing that changes with the chart alone, since that would restart pods that hold calls. */}}
{{- define "fairlead.podLabels" -}}
{{ include "fairlead.selector" . }}
app.kubernetes.io/part-of: fairlead
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- end }}

{{/* Labels or annotations of several maps: the first that names a key counts, and null there takes the key away. (list of maps) */}}
{{- define "fairlead.strings" -}}
{{- $all := dict -}}
{{- range . -}}
{{- range $key, $value := . -}}
{{- if not (hasKey $all $key) -}}{{- $all = set $all $key $value -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- range $key, $value := $all -}}{{- if kindIs "invalid" $value -}}{{- $all = unset $all $key -}}{{- end -}}{{- end -}}
{{- if $all -}}{{- toYaml $all -}}{{- end -}}
{{- end }}

{{/* What every object carries. */}}
{{- define "fairlead.labels" -}}
{{- $version := dict "app.kubernetes.io/version" .root.Chart.AppVersion "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_") -}}
{{- include "fairlead.strings" (list (include "fairlead.podLabels" . | fromYaml) $version .labels .root.Values.commonLabels) -}}
{{- end }}

{{/* metadata of an object. (dict "root" $ "role" "media" "name" "…" "annotations" dict-or-list-of-them "labels" dict "namespace" "…") */}}
{{- define "fairlead.metadata" -}}
metadata:
  name: {{ .name }}
  namespace: {{ .namespace | default .root.Release.Namespace }}
  {{- include "fairlead.labelled" . | nindent 2 }}
{{- end }}

{{- define "fairlead.labelled" -}}
labels:
  {{- include "fairlead.labels" . | nindent 2 }}
{{- $own := ternary .annotations (list .annotations) (kindIs "slice" .annotations) }}
{{- with include "fairlead.strings" (append $own .root.Values.commonAnnotations) }}
annotations:
  {{- . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Name of the Secret that holds the certificate of a role. (dict "root" $ "role" "media") */}}
{{- define "fairlead.tlsSecret" -}}
{{- $named := "" -}}
{{- if eq .root.Values.tls.internal.mode "existing" -}}
{{- $named = index .root.Values.tls.internal.existingSecrets .role -}}
{{- end -}}
{{- $named | default (printf "%s-tls-%s" (include "fairlead.fullname" .root) .role) -}}
{{- end }}

{{- define "fairlead.redisSecret" -}}
{{- if .Values.redis.existingSecret -}}
{{ .Values.redis.existingSecret }}
{{- else if .Values.redis.enabled -}}
{{ include "fairlead.fullname" . }}-redis
{{- end -}}
{{- end }}

{{- define "fairlead.adminSecret" -}}
{{ .Values.admin.existingSecret | default (printf "%s-admin" (include "fairlead.fullname" .)) }}
{{- end }}

{{- define "fairlead.redisUrl" -}}
{{- if .Values.redis.enabled -}}
redis://{{ include "fairlead.fullname" . }}-redis:6379
{{- else -}}
{{ .Values.redis.url }}
{{- end -}}
{{- end }}

{{/* An image of another project, from global.imageRegistry where that is set. (dict "root" $ "image" "docker.io/valkey/valkey:8") */}}
{{- define "fairlead.foreignImage" -}}
{{- $image := .image -}}
{{- with .root.Values.global.imageRegistry -}}
{{- $first := index (splitList "/" $image) 0 -}}
{{- if and (contains "/" $image) (or (contains "." $first) (contains ":" $first) (eq $first "localhost")) -}}
{{- $image = trimPrefix (printf "%s/" $first) $image -}}
{{- end -}}
{{- $image = printf "%s/%s" . $image -}}
{{- end -}}
{{- $image -}}
{{- end }}

{{- define "fairlead.image" -}}
{{- $image := include "fairlead.foreignImage" (dict "root" . "image" .Values.image.repository) -}}
{{- if .Values.image.digest -}}
{{ $image }}{{ with .Values.image.tag }}:{{ . }}{{ end }}@{{ .Values.image.digest }}
{{- else -}}
{{ $image }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{/* Seconds that Kubernetes waits after SIGTERM: the sleep, the drain, and room to say goodbye. (the values of a role) */}}
{{- define "fairlead.grace" -}}
{{ add .preStopSeconds .drainSeconds 15 }}
{{- end }}
