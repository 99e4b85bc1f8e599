{{- define "ziggurat.name" -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "ziggurat.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "ziggurat.labels" -}}
{{ include "ziggurat.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- /* limits.queue becomes ZIGGURAT_LIMITS__QUEUE */ -}}
{{- define "ziggurat.variable" -}}
ZIGGURAT_{{ . | replace "." "__" | upper }}
{{- end -}}
