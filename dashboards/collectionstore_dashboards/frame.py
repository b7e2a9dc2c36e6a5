"""What all pages share: variables, annotations, links between them, rows, and their JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders import prometheus
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models

from collectionstore_dashboards.panels import AMBER, BLUE, DATASOURCE, RED, Panel
from collectionstore_dashboards.queries import CLUSTER, WINDOW

TAG: Final = "collectionstore"


@dataclass(frozen=True)
class Row:
    """Panels for one question of one kind of reader."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Variables:
    """Where the choices of the variables come from: series with the labels that the page selects by."""

    clusters: str = "collectionstore_build_info"
    instances: str = "collectionstore_build_info"
    instance_scope: str = CLUSTER
    several: bool = False
    """Whether the dashboard shows more than one namespace and cluster."""
    instance_label: str = "Member"


@dataclass(frozen=True)
class Page:
    """One dashboard. Its file, its uid and its place in the links follow from `name`."""

    name: str
    title: str
    description: str
    rows: tuple[Row, ...]
    variables: Variables = Variables()

    @property
    def uid(self) -> str:
        """Return the identity under which Grafana keeps it, in links, too; never changes."""
        return f"{TAG}-{self.name}"


def text(page: Page) -> str:
    """Return the page as JSON, the same for the same page."""
    made = json.loads(json.dumps(_dashboard(page).build(), cls=JSONEncoder))
    return json.dumps({"id": None, **made}, indent=2, sort_keys=True) + "\n"


def _dashboard(page: Page) -> builders.Dashboard:
    board = (
        builders.Dashboard(page.title)
        .uid(page.uid)
        .description(page.description)
        .tags([TAG])
        .readonly()
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .time("now-1h", "now")
        .timezone("")
        .refresh("30s")
        .variables(_variables(page.variables))
        .annotations(_annotations())
        .links([_links()])
    )
    number = 0
    for row in page.rows:
        number += 1
        board.with_row(builders.Row(row.title).id(number))
        for panel in row.panels:
            number += 1
            board.with_panel(panel.id(number))
    return board


def _variables(source: Variables) -> list[Builder[models.VariableModel]]:
    datasource = builders.DatasourceVariable("datasource").label("Data source").type("prometheus")
    namespace = _choice("namespace", "Namespace", f"label_values({source.clusters}, namespace)")
    cluster = _choice("cluster", "Cluster", f'label_values({source.clusters}{{namespace=~"$namespace"}}, cluster)')
    if source.several:
        for one in (namespace, cluster):
            one.multi(multi=True).include_all(include_all=True).all_value(".*").current(_everything())
    scope = f"{{{source.instance_scope}}}" if source.instance_scope else ""
    instance = (
        _choice("instance", source.instance_label, f"label_values({source.instances}{scope}, instance)")
        .multi(multi=True)
        .include_all(include_all=True)
        .all_value(".*")
        .current(_everything())
    )
    return [datasource, namespace, cluster, instance]


def _everything() -> models.VariableOption:
    return models.VariableOption(selected=True, text="All", value="$__all")


def _choice(name: str, label: str, query: str) -> builders.QueryVariable:
    return (
        builders.QueryVariable(name)
        .label(label)
        .datasource(DATASOURCE)
        .query(query)
        .definition(query)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.NATURAL_ASC)
    )


def _links() -> builders.DashboardLink:
    return (
        builders.DashboardLink("Collection Store")
        .type(models.DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .as_dropdown(as_dropdown=True)
        .include_vars(include_vars=True)
        .keep_time(keep_time=True)
    )


def _annotations() -> list[Builder[models.AnnotationQuery]]:
    leads = f"collectionstore_raft_is_leader{{{CLUSTER}}}"
    versions = f"count by (namespace, cluster, version) (collectionstore_build_info{{{CLUSTER}}}"
    actions = f"collectionstore_cluster_actions_total{{{CLUSTER}}}[{WINDOW}]"
    return [
        _annotation(
            "Leader changes", RED, f"changes({leads}[{WINDOW}]) > 0 and {leads} == 1", "{{instance}} leads now"
        ),
        _annotation(
            "Upgrades",
            BLUE,
            f"{versions}) unless {versions} offset {WINDOW})",
            "version {{version}} appeared",
        ),
        _annotation(
            "Operator actions",
            AMBER,
            f"sum by (namespace, cluster, action) (increase({actions})) > 0",
            "operator: {{action}} for {{cluster}}",
        ),
    ]


def _annotation(name: str, color: str, expr: str, words: str) -> builders.AnnotationQuery:
    return (
        builders.AnnotationQuery()
        .name(name)
        .datasource(DATASOURCE)
        .enable(enable=True)
        .icon_color(color)
        .expr(expr)
        .title_format(name)
        .text_format(words)
        .target(prometheus.Dataquery().datasource(DATASOURCE).expr(expr).legend_format(words).ref_id("Anno").range())
    )
