{{- define "cluster.name" -}}
{{- $name := default .Release.Name .Values.fullnameOverride }}
{{- if not (regexMatch "^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$" $name) }}
{{- fail (printf "\n\nThe cluster cannot be called %q; allowed: at most 40 of a-z, 0-9 and '-', first a letter, last none of '-'.\nChoose another release name, or set fullnameOverride." $name) }}
{{- end }}
{{- $name }}
{{- end }}

{{- define "cluster.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/part-of: collectionstore
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* The image of the members; the default must match that of the operator. */}}
{{- define "cluster.image" -}}
{{- default (printf "collectionstore/node:%s" (default .Chart.AppVersion .Values.version)) .Values.image }}
{{- end }}
