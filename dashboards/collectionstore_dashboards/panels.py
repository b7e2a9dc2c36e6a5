"""The four kinds of panel: lines over time, one number, states over time, a table.

Each has a title, a sentence on what it shows and when to act, and a unit; widths are of Grafana's 24 columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders import prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

DATASOURCE: Final = common.DataSourceRef(type_val="prometheus", uid="${datasource}")
GREEN, AMBER, RED, BLUE, PURPLE, GREY = "green", "orange", "red", "blue", "purple", "text"

Panel: TypeAlias = timeseries.Panel | stat.Panel | statetimeline.Panel | table.Panel
Steps: TypeAlias = tuple[tuple[float | None, str], ...]
"""From which value on which colour; the first from None."""
Words: TypeAlias = tuple[tuple[str, str, str], ...]
"""What to write for a value, and in which colour."""


@dataclass(frozen=True)
class Query:
    """PromQL, and the name of what it returns."""

    expr: str
    legend: str


@dataclass(frozen=True)
class Column:
    """A column of a table: its title, the query whose value it shows, and how."""

    title: str
    expr: str
    unit: str
    steps: Steps = ((None, GREY),)


def above(amber: float, red: float) -> Steps:
    """Return steps for what is better low."""
    return ((None, GREEN), (amber, AMBER), (red, RED))


def below(red: float, amber: float) -> Steps:
    """Return steps for what is better high: red below `red`, amber below `amber`."""
    return ((None, RED), (red, AMBER), (amber, GREEN))


def graph(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    width: int = 8,
    stacked: bool = False,
    limits: Steps = (),
    top: float | None = None,
    log: bool = False,
) -> timeseries.Panel:
    """Return lines over time; `limits` are drawn as dashed lines, `top` is the end of the axis.

    `log` is for what ranges over powers of ten, latencies above all.
    """
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .unit(unit)
        .datasource(DATASOURCE)
        .span(width)
        .height(8)
        .min(0)
        .line_width(1)
        .fill_opacity(30 if stacked else 8)
        .show_points(common.VisibilityMode.NEVER)
        .legend(_legend())
        .tooltip(
            common_builders.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING)
        )
    )
    for query, letter in zip(queries, "ABCDEFGH", strict=False):
        panel.with_target(_over_time(query, letter))
    if stacked:
        panel.stacking(common_builders.StackingConfig().mode(common.StackingMode.NORMAL).group("A"))
    if limits:
        dashes = common_builders.GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED)
        panel.thresholds(_thresholds(limits)).thresholds_style(dashes)
    if top is not None:
        panel.max(top)
    if log:
        scale = common_builders.ScaleDistributionConfig().type(common.ScaleDistribution.LOG).log(10)
        panel.scale_distribution(scale)
    return panel


def number(
    title: str,
    description: str,
    unit: str,
    query: Query,
    *,
    steps: Steps = ((None, BLUE),),
    words: Words = (),
    width: int = 4,
    named: bool = False,
    otherwise: str = "none",
    decimals: int | None = None,
) -> stat.Panel:
    """Return one number, or the name of what has it (`named`); `otherwise` stands there while there is none."""
    panel = (
        stat.Panel()
        .title(title)
        .description(description)
        .unit(unit)
        .datasource(DATASOURCE)
        .span(width)
        .height(4)
        .no_value(otherwise)
        .thresholds(_thresholds(steps))
        .color_mode(common.BigValueColorMode.BACKGROUND)
        .graph_mode(common.BigValueGraphMode.NONE if named or words else common.BigValueGraphMode.AREA)
        .text_mode(common.BigValueTextMode.NAME if named else common.BigValueTextMode.VALUE)
        .reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]))
    )
    # An instant query for a name: over time, everyone who had it would be shown.
    panel.with_target(_at_once(query, "A") if named else _over_time(query, "A"))
    panel.mappings([*([_mapping(words)] if words else []), _not_a_number(otherwise)])
    if decimals is not None:
        panel.decimals(decimals)
    return panel


def states(
    title: str, description: str, *queries: Query, words: Words, width: int = 12, height: int = 6
) -> statetimeline.Panel:
    """Return a bar per series whose color shows its state over time."""
    panel = (
        statetimeline.Panel()
        .title(title)
        .description(description)
        .unit("none")
        .datasource(DATASOURCE)
        .span(width)
        .height(height)
        .mappings([_mapping(words)])
        .color_scheme(builders.FieldColor().mode(models.FieldColorModeId.THRESHOLDS))
        .show_value(common.VisibilityMode.NEVER)
        .row_height(0.8)
        .legend(_legend())
    )
    for query, letter in zip(queries, "ABCDEFGH", strict=False):
        panel.with_target(_over_time(query, letter))
    return panel


def grid(
    title: str, description: str, *columns: Column, keys: tuple[str, ...], width: int = 24, height: int = 10
) -> table.Panel:
    """Return a table with a row for each combination of the labels `keys`, present values only."""
    panel = (
        table.Panel()
        .title(title)
        .description(description)
        .unit("none")
        .datasource(DATASOURCE)
        .span(width)
        .height(height)
    )
    letters = "ABCDEFGHIJKLMNOP"
    for column, letter in zip(columns, letters, strict=False):
        panel.with_target(_at_once(Query(column.expr, column.title), letter).format(PromQueryFormat.TABLE))
        panel.override_by_name(column.title, _cells(column))
    names = {f"Value #{letter}": column.title for column, letter in zip(columns, letters, strict=False)}
    if len(columns) == 1:
        names = {"Value": columns[0].title}
    order = {name: place for place, name in enumerate([*keys, *names])}
    panel.with_transformation(models.DataTransformerConfig(id_val="merge", options={}))
    organized = {"excludeByName": {"Time": True}, "renameByName": names, "indexByName": order}
    panel.with_transformation(models.DataTransformerConfig(id_val="organize", options=organized))
    return panel


def _cells(column: Column) -> list[models.DynamicConfigValue]:
    properties = [models.DynamicConfigValue("unit", column.unit), models.DynamicConfigValue("noValue", "-")]
    properties.append(models.DynamicConfigValue("mappings", [_not_a_number("-").to_json()]))
    if len(column.steps) > 1:
        steps = {"mode": "absolute", "steps": [{"value": value, "color": color} for value, color in column.steps]}
        properties.append(models.DynamicConfigValue("thresholds", steps))
        properties.append(models.DynamicConfigValue("custom.cellOptions", {"type": "color-background"}))
    return properties


def _over_time(query: Query, letter: str) -> prometheus.Dataquery:
    return _target(query, letter).range()


def _at_once(query: Query, letter: str) -> prometheus.Dataquery:
    return _target(query, letter).instant()


def _target(query: Query, letter: str) -> prometheus.Dataquery:
    made = prometheus.Dataquery().datasource(DATASOURCE).expr(query.expr).legend_format(query.legend).ref_id(letter)
    # Exemplars exist for the latency histograms only; other queries must not request them.
    return made.exemplar("duration_seconds_bucket" in query.expr)


def _legend() -> common_builders.VizLegendOptions:
    return (
        common_builders.VizLegendOptions()
        .display_mode(common.LegendDisplayMode.LIST)
        .placement(common.LegendPlacement.BOTTOM)
        .show_legend(show_legend=True)
        .calcs([])
    )


def _thresholds(steps: Steps) -> builders.ThresholdsConfig:
    found = [models.Threshold(value=value, color=color) for value, color in steps]
    return builders.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(found)


def _mapping(words: Words) -> models.ValueMap:
    return models.ValueMap(
        options={
            value: models.ValueMappingResult(text=text, color=color, index=place)
            for place, (value, text, color) in enumerate(words)
        }
    )


def _not_a_number(words: str) -> models.SpecialValueMap:
    """A share of no requests, or a quantile of nothing, is NaN: Prometheus has an answer, and it is none."""
    result = models.ValueMappingResult(text=words, color=GREY, index=100)
    options = models.DashboardSpecialValueMapOptions(match=models.SpecialValueMatch.NA_N, result=result)
    return models.SpecialValueMap(options=options)
