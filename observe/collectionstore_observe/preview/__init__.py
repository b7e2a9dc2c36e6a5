"""Pictures of dashboards without a Grafana: a preview, drawn from the JSON and Prometheus's answers.

It knows the kinds of panels that these dashboards use. Grafana draws them in its own way.
"""
