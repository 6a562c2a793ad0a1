{{/* Pods. One shape for all roles; what differs is handed in. */}}

{{/* (dict "root" $ "role" "media" "args" list "ports" list "volumes" list "mounts" list "account" "pod|reviewer|operator" "annotations" dict) */}}
{{- define "fairlead.podTemplate" -}}
{{- $root := .root -}}
{{- $role := .role -}}
{{- $values := index $root.Values $role -}}
{{- $full := include "fairlead.fullname" $root -}}
{{- $tls := ne $root.Values.tls.internal.mode "off" -}}
metadata:
  labels:
    {{- include "fairlead.strings" (list (include "fairlead.podLabels" . | fromYaml) $values.podLabels $root.Values.commonLabels) | nindent 4 }}
  {{- with include "fairlead.strings" (list (.annotations | default dict) $values.podAnnotations $root.Values.commonAnnotations) }}
  annotations:
    {{- . | nindent 4 }}
  {{- end }}
spec:
  {{- include "fairlead.pullSecrets" $root | nindent 2 }}
  serviceAccountName: {{ include "fairlead.account" (dict "root" $root "account" .account) }}
  automountServiceAccountToken: {{ has .account (list "operator" "reviewer") }}
  enableServiceLinks: false
  {{- if .hostNetwork }}
  hostNetwork: true
  dnsPolicy: ClusterFirstWithHostNet
  {{- end }}
  securityContext:
    {{- toYaml $root.Values.podSecurityContext | nindent 4 }}
  terminationGracePeriodSeconds: {{ include "fairlead.grace" $values }}
  {{- with $values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- include "fairlead.placement" (dict "root" $root "role" $role "values" $values) | nindent 2 }}
  {{- with $values.initContainers }}
  initContainers:
    {{- tpl (toYaml .) $root | nindent 4 }}
  {{- end }}
  containers:
    - name: {{ $role }}
      image: {{ include "fairlead.image" $root | quote }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      args:
        - {{ $role }}
        {{- range .args }}
        - {{ . | quote }}
        {{- end }}
        - --listen-health=[::]:8081
        - --drain-timeout={{ $values.drainSeconds }}s
        {{- if $tls }}
        - --tls-dir=/etc/fairlead/tls
        - --tls-domain={{ $full }}.{{ $root.Release.Namespace }}
        {{- end }}
        - --log-format={{ $root.Values.telemetry.logFormat }}
        - --log={{ $root.Values.telemetry.log }}
        {{- with $root.Values.telemetry.otlpEndpoint }}
        - --otlp-endpoint={{ . }}
        - --trace-share={{ $root.Values.telemetry.traceShare }}
        {{- end }}
        {{- range $values.extraArgs }}
        - {{ tpl . $root | quote }}
        {{- end }}
      env:
        - name: POD_NAME
          valueFrom: {fieldRef: {fieldPath: metadata.name}}
        - name: POD_NAMESPACE
          valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
        - name: POD_IP
          valueFrom: {fieldRef: {fieldPath: status.podIP}}
        - name: HOST_IP
          valueFrom: {fieldRef: {fieldPath: status.hostIP}}
        - name: HOST_IPS
          valueFrom: {fieldRef: {fieldPath: status.hostIPs}}
        {{- with $values.extraEnv }}
        {{- tpl (toYaml .) $root | nindent 8 }}
        {{- end }}
      {{- with $values.extraEnvFrom }}
      envFrom:
        {{- tpl (toYaml .) $root | nindent 8 }}
      {{- end }}
      ports:
        {{- range .ports }}
        - {{ toJson . }}
        {{- end }}
        - {{ dict "name" "health" "containerPort" 8081 "protocol" "TCP" | toJson }}
      startupProbe:
        httpGet: {path: /livez, port: health}
        periodSeconds: 1
        failureThreshold: 60
      livenessProbe:
        httpGet: {path: /livez, port: health}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      readinessProbe:
        httpGet: {path: /readyz, port: health}
        periodSeconds: 2
        timeoutSeconds: 2
        failureThreshold: 3
      {{- if $values.preStopSeconds }}
      lifecycle:
        preStop:
          sleep: {seconds: {{ $values.preStopSeconds }}}
      {{- end }}
      resources:
        {{- toYaml $values.resources | nindent 8 }}
      securityContext:
        {{- toYaml $root.Values.containerSecurityContext | nindent 8 }}
      volumeMounts:
        {{- if $tls }}
        - name: tls
          mountPath: /etc/fairlead/tls
          readOnly: true
        {{- end }}
        {{- with .mounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
        {{- with $values.extraVolumeMounts }}
        {{- tpl (toYaml .) $root | nindent 8 }}
        {{- end }}
        {{- if not (or $tls .mounts $values.extraVolumeMounts) }}
        []
        {{- end }}
    {{- with $values.extraContainers }}
    {{- tpl (toYaml .) $root | nindent 4 }}
    {{- end }}
  volumes:
    {{- if $tls }}
    - name: tls
      secret:
        # The pod starts without it and waits; it is taken as soon as it is there, and again whenever it changes.
        secretName: {{ include "fairlead.tlsSecret" . }}
        optional: true
        defaultMode: 0440
    {{- end }}
    {{- with .volumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    {{- with $values.extraVolumes }}
    {{- tpl (toYaml .) $root | nindent 4 }}
    {{- end }}
    {{- if not (or $tls .volumes $values.extraVolumes) }}
    []
    {{- end }}
{{- end }}

{{- define "fairlead.pullSecrets" -}}
{{- with concat (.Values.global.imagePullSecrets | default list) (.Values.imagePullSecrets | default list) }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{/* Where a pod runs. (dict "root" $ "role" "media" "values" …) */}}
{{- define "fairlead.placement" -}}
{{- with include "fairlead.strings" (list .values.nodeSelector) }}
nodeSelector:
  {{- . | nindent 2 }}
{{- end }}
affinity:
  {{- if .values.affinity }}
  {{- tpl (toYaml .values.affinity) .root | nindent 2 }}
  {{- else }}
  # Over zones by affinity, over nodes below: a spread over a label that nodes do not have would void both.
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 50
        podAffinityTerm:
          topologyKey: topology.kubernetes.io/zone
          labelSelector:
            matchLabels:
              {{- include "fairlead.selector" . | nindent 14 }}
  {{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
topologySpreadConstraints:
  {{- if .values.topologySpreadConstraints }}
  {{- tpl (toYaml .values.topologySpreadConstraints) .root | nindent 2 }}
  {{- else }}
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    # Rather two on one node than one that waits.
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "fairlead.selector" . | nindent 8 }}
    {{- if ne .role "media" }}
    matchLabelKeys: [pod-template-hash]
    {{- end }}
  {{- end }}
{{- end }}

{{- define "fairlead.account" -}}
{{- $own := "" -}}
{{- if not .root.Values.serviceAccounts.create -}}
{{- $own = index .root.Values.serviceAccounts.names .account -}}
{{- end -}}
{{- $own | default (printf "%s-%s" (include "fairlead.fullname" .root) .account) -}}
{{- end }}

{{/* `replicas`, unless something else sets them. */}}
{{- define "fairlead.replicas" -}}
{{- if not (or .autoscaling.enabled .keda.enabled) -}}
replicas: {{ .replicas }}
{{- end -}}
{{- end }}
