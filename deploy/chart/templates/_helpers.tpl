{{- define "lightfoot.name" -}}
{{- $name := ternary .Release.Name (printf "%s-lightfoot" .Release.Name) (contains "lightfoot" .Release.Name) -}}
{{- $name | trunc 52 | trimSuffix "-" -}}
{{- end }}

{{- define "lightfoot.selector" -}}
app.kubernetes.io/name: lightfoot
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "lightfoot.labels" -}}
{{ include "lightfoot.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "lightfoot.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "lightfoot.name" .) }}
{{- else -}}
{{ .Values.serviceAccount.name | default "default" }}
{{- end }}
{{- end }}

{{- define "lightfoot.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}
{{- end }}

{{/*
What the file says that no agent follows while it runs: where this changes, the pods are made anew. Rules are followed, but the first one
that asks for it takes BPF programs that were not loaded.
*/}}
{{- define "lightfoot.settings" -}}
{{- $settings := omit .Values.config "rules" "others" -}}
{{- range .Values.config.rules }}{{ if .propagate }}{{ $_ := set $settings "propagate in rules" true }}{{ end }}{{ end -}}
{{- $settings | toJson -}}
{{- end }}

{{/* The capabilities of README.md. */}}
{{- define "lightfoot.capabilities" -}}
{{- $capabilities := list "BPF" "PERFMON" "SYS_PTRACE" "DAC_READ_SEARCH" -}}
{{- if .Values.beforeLinux66 }}{{ $capabilities = append $capabilities "SYS_ADMIN" }}{{ end -}}
{{- $capabilities | toJson -}}
{{- end }}

{{/* Kinds of volumes that the pod may have. */}}
{{- define "lightfoot.volumes" -}}
{{- $kinds := list "configMap" "secret" "projected" "emptyDir" -}}
{{- if .Values.certificates }}{{ $kinds = append $kinds "hostPath" }}{{ end -}}
{{- range .Values.extraVolumes }}{{ $kinds = concat $kinds (keys (omit . "name")) }}{{ end -}}
{{- $kinds | uniq | toJson -}}
{{- end }}
