"""What all dashboards are made of: one look, one data source variable, a legend and a description everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import heatmap as heatmap_models
from grafana_foundation_sdk.models import prometheus as prometheus_models

WIDTH = 24
SOURCE = common_models.DataSourceRef(type_val="prometheus", uid="${datasource}")

GREEN, YELLOW, RED, BLUE, GREY = "green", "yellow", "red", "blue", "#8e8e8e"
GOOD = ((None, GREEN),)
BAD_FROM_ONE = ((None, GREEN), (1.0, RED))
PLAIN = ((None, BLUE),)

Steps = Sequence[tuple[float | None, str]]

ACTUAL = 'segment="",kind="actual"'
"""Of whole versions, by labels: what later releases may add beside it must not be mixed in."""

BREACH, NO_DATA = 2, 1
"""The numbers that a rule's state is drawn with; 0 is ok."""

MOST = 20
"""So many lines can be told apart, more or less."""

AT = " @ at"
"""Stands in a query for `most` behind each selector."""


Panel = timeseries.Panel | stat.Panel | bargauge.Panel | statetimeline.Panel | heatmap.Panel | table.Panel


# ---- queries -----------------------------------------------------------------------------------------------


def query(expr: str, legend: str) -> prometheus.Dataquery:
    """A query over the time that is shown."""
    return prometheus.Dataquery().expr(expr).legend_format(legend).range()


def now(expr: str, legend: str) -> prometheus.Dataquery:
    """A query of the newest values."""
    return prometheus.Dataquery().expr(expr).legend_format(legend).instant()


def state_of_rules(matchers: str) -> str:
    """One number for each rule, of the gauges that are 1 for the state that it is in."""
    state = "driftline_monitor_state"
    return (
        f'max by (model, monitor) ({state}{{{matchers},state="breach"}} * {BREACH}'
        f' or {state}{{{matchers},state="nodata"}})'
    )


def most(expr: str, *, of: str = "topk", count: int = MOST) -> str:
    """The series that are largest (``topk``) or smallest (``bottomk``) at the end of the time shown, over all of it."""
    return f"{expr.replace(AT, '')} and {of}({count}, {expr.replace(AT, ' @ end()')})"


def _lettered(queries: Sequence[prometheus.Dataquery]) -> list[Any]:
    return [one.ref_id(chr(ord("A") + place)).datasource(SOURCE) for place, one in enumerate(queries)]


# ---- panels ------------------------------------------------------------------------------------------------


def lines(
    title: str, text: str, unit: str, *queries: prometheus.Dataquery, width: int = 12, height: int = 8
) -> timeseries.Panel:
    """Values over time; a legend below says the newest of each."""
    legend = (
        common.VizLegendOptions()
        .show_legend(True)
        .display_mode(common_models.LegendDisplayMode.LIST)
        .placement(common_models.LegendPlacement.BOTTOM)
        .calcs(["lastNotNull"])
    )
    tooltip = (
        common.VizTooltipOptions().mode(common_models.TooltipDisplayMode.MULTI).sort(common_models.SortOrder.DESCENDING)
    )
    panel = timeseries.Panel().title(title).description(text).datasource(SOURCE).unit(unit)
    panel = panel.span(width).height(height).targets(_lettered(queries)).legend(legend).tooltip(tooltip)
    return panel.line_width(1).fill_opacity(0).show_points(common_models.VisibilityMode.AUTO)


def number(
    title: str, text: str, unit: str, *queries: prometheus.Dataquery, steps: Steps = PLAIN, width: int = 4
) -> stat.Panel:
    """The newest values, large, in the colour of their step."""
    panel = stat.Panel().title(title).description(text).datasource(SOURCE).unit(unit).span(width).height(4)
    panel = panel.targets(_lettered(queries)).thresholds(thresholds(steps)).reduce_options(_newest()).no_value("–")
    text_mode = (
        common_models.BigValueTextMode.VALUE_AND_NAME if len(queries) > 1 else common_models.BigValueTextMode.AUTO
    )
    return panel.text_mode(text_mode).graph_mode(common_models.BigValueGraphMode.NONE)


def bars(
    title: str, text: str, unit: str, one: prometheus.Dataquery, *, steps: Steps, width: int = 12, height: int = 8
) -> bargauge.Panel:
    """The newest value of each series as a bar in the colour of its step."""
    panel = bargauge.Panel().title(title).description(text).datasource(SOURCE).unit(unit).span(width).height(height)
    panel = panel.targets(_lettered([one])).thresholds(thresholds(steps)).reduce_options(_newest()).min(0)
    panel = panel.orientation(common_models.VizOrientation.HORIZONTAL).no_value("–")
    return panel.display_mode(common_models.BarGaugeDisplayMode.BASIC)


def states(title: str, text: str, one: prometheus.Dataquery, *, width: int = WIDTH) -> statetimeline.Panel:
    """The state of rules over time; the query is `state_of_rules`."""
    panel = statetimeline.Panel().title(title).description(text).datasource(SOURCE).unit("none")
    panel = panel.span(width).height(7).targets(_lettered([one])).merge_values(True)
    panel = panel.show_value(common_models.VisibilityMode.NEVER).fill_opacity(80).row_height(0.8)
    legend = common.VizLegendOptions().show_legend(True).display_mode(common_models.LegendDisplayMode.LIST)
    words = {"0": ("ok", GREEN), str(NO_DATA): ("no data", GREY), str(BREACH): ("breach", RED)}
    mapped = {
        value: models.ValueMappingResult(text=said, color=colour, index=place)
        for place, (value, (said, colour)) in enumerate(words.items())
    }
    panel = panel.legend(legend.placement(common_models.LegendPlacement.BOTTOM))
    return panel.mappings([models.ValueMap(options=mapped)]).color_scheme(_by_steps()).thresholds(thresholds(GOOD))


def spread(title: str, text: str, one: prometheus.Dataquery, *, width: int = 12, height: int = 8) -> heatmap.Panel:
    """A histogram in seconds over time; the query gives buckets by `le`."""
    axis = heatmap.YAxisConfig().unit("s").axis_placement(common_models.AxisPlacement.LEFT)
    colour = (
        heatmap.HeatmapColorOptions()
        .mode(heatmap_models.HeatmapColorMode.SCHEME)
        .scheme("Blues")
        .scale(heatmap_models.HeatmapColorScale.EXPONENTIAL)
        .exponent(0.5)
        .steps(64)
    )
    tooltip = heatmap.HeatmapTooltip().mode(common_models.TooltipDisplayMode.SINGLE).show_color_scale(True)
    panel = heatmap.Panel().title(title).description(text).datasource(SOURCE).unit("short").span(width).height(height)
    buckets = one.format(prometheus_models.PromQueryFormat.HEATMAP)
    return (
        panel.targets(_lettered([buckets])).calculate(False).y_axis(axis).color(colour).tooltip(tooltip).show_legend()
    )


def rows(
    title: str,
    text: str,
    unit: str,
    columns: Sequence[tuple[str, prometheus.Dataquery]],
    *,
    labels: Sequence[str],
    width: int = WIDTH,
    height: int = 8,
) -> table.Panel:
    """A row for each set of labels, and a column for each query; queries must agree in their labels.

    A column without a name is not shown: its query is there for the labels.
    """
    queries = _lettered([one.format(prometheus_models.PromQueryFormat.TABLE) for _, one in columns])
    # One column keeps its plain name; of several, each has the letter of its query.
    values = [f"Value #{chr(ord('A') + at)}" for at in range(len(columns))] if len(columns) > 1 else ["Value"]
    named = {value: name for value, (name, _) in zip(values, columns, strict=True) if name}
    hidden = dict.fromkeys({"Time", *values} - set(named), True)
    order = {name: place for place, name in enumerate([*labels, *named])}
    panel = table.Panel().title(title).description(text).datasource(SOURCE).unit(unit).span(width).height(height)
    return panel.targets(queries).transformations(
        [
            models.DataTransformerConfig(id_val="merge", options={}),
            models.DataTransformerConfig(
                id_val="organize",
                options={"excludeByName": hidden, "indexByName": order, "renameByName": named},
            ),
        ]
    )


def of_column(panel: table.Panel, name: str, *, unit: str = "", decimals: int | None = None) -> table.Panel:
    """Set the unit or the decimals of a column."""
    properties = [models.DynamicConfigValue(id_val="unit", value=unit)] if unit else []
    if decimals is not None:
        properties.append(models.DynamicConfigValue(id_val="decimals", value=decimals))
    return panel.override_by_name(name, properties)


def red_from_one(panel: table.Panel, name: str) -> table.Panel:
    """Write the numbers of a column in red where they are not 0."""
    steps = [models.Threshold(value=None, color="text"), models.Threshold(value=1.0, color=RED)]
    properties = [
        models.DynamicConfigValue(id_val="custom.cellOptions", value={"type": "color-text"}),
        models.DynamicConfigValue(
            id_val="thresholds", value=models.ThresholdsConfig(mode=models.ThresholdsMode.ABSOLUTE, steps=steps)
        ),
    ]
    return panel.override_by_name(name, properties)


def yes_or_no(panel: stat.Panel) -> stat.Panel:
    """Show 1 as yes and 0 as no."""
    words = {
        value: models.ValueMappingResult(text=word, index=place)
        for place, (value, word) in enumerate((("0", "no"), ("1", "yes")))
    }
    return panel.mappings([models.ValueMap(options=words)])


def answering(width: int) -> stat.Panel:
    """The number without which all others are silent: without an answer they are empty, and not red."""
    return number(
        "Services answering",
        "Driftline services whose newest scrape succeeded. At 0 nothing else here is current: mend that first.",
        "none",
        now("count(driftline_build_info) or vector(0)", "services"),
        steps=((None, RED), (1.0, GREEN)),
        width=width,
    )


def failing_models(matchers: str, width: int) -> stat.Panel:
    """How many models stand still."""
    return number(
        "Models that fail",
        "Models whose events cannot be processed at the moment; the service's log says why.",
        "none",
        now(f"sum(driftline_worker_failing{{{matchers}}})", "failing"),
        steps=BAD_FROM_ONE,
        width=width,
    )


def longest_silence(matchers: str, width: int) -> stat.Panel:
    """How long the most silent model has been silent."""
    return number(
        "Longest silence",
        "Of all models, how long ago the last event came that was processed. What is long depends on the model.",
        "s",
        now(f"max(time() - driftline_last_event_timestamp_seconds{{{matchers}}})", "silence"),
        width=width,
    )


def messages_waiting(width: int) -> stat.Panel:
    """Whether people are told."""
    return number(
        "Messages waiting",
        "Notifications that no channel has accepted yet; they are sent again.",
        "none",
        now("sum(driftline_notifications_waiting) or vector(0)", "waiting"),
        steps=BAD_FROM_ONE,
        width=width,
    )


def _newest() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().calcs(["lastNotNull"]).values(False)


def thresholds(steps: Steps) -> dashboard.ThresholdsConfig:
    """Colours from a value on; the first step has none and goes down without end."""
    made = [models.Threshold(value=value, color=colour) for value, colour in steps]
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(made)


def line_at(panel: timeseries.Panel, value: float) -> timeseries.Panel:
    """Draw a dashed red line at a value."""
    style = common.GraphThresholdsStyleConfig().mode(common_models.GraphThresholdsStyleMode.DASHED)
    return panel.thresholds(thresholds(((None, "transparent"), (value, RED)))).thresholds_style(style)


def dashed(panel: timeseries.Panel, names: str) -> timeseries.Panel:
    """Draw the series whose names match a regular expression dashed and red: they are thresholds."""
    return panel.override_by_regexp(
        names,
        [
            models.DynamicConfigValue(id_val="custom.lineStyle", value={"fill": "dash", "dash": [8, 8]}),
            models.DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": RED}),
        ],
    )


def band(panel: timeseries.Panel, low: str, high: str) -> timeseries.Panel:
    """Fill between two series, which themselves are not drawn."""
    edge = [
        models.DynamicConfigValue(id_val="custom.lineWidth", value=0),
        models.DynamicConfigValue(id_val="custom.showPoints", value="never"),
        models.DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": BLUE}),
    ]
    filled = [
        models.DynamicConfigValue(id_val="custom.fillBelowTo", value=low),
        models.DynamicConfigValue(id_val="custom.fillOpacity", value=20),
    ]
    return panel.override_by_name(low, edge).override_by_name(high, edge + filled)


def stacked(panel: timeseries.Panel) -> timeseries.Panel:
    """Draw series on top of each other, filled."""
    return panel.stacking(common.StackingConfig().mode(common_models.StackingMode.NORMAL)).fill_opacity(30)


def coloured(panel: timeseries.Panel, colours: dict[str, str]) -> timeseries.Panel:
    """Give series their colours by name."""
    for name, colour in colours.items():
        fixed = {"mode": "fixed", "fixedColor": colour}
        panel = panel.override_by_name(name, [models.DynamicConfigValue(id_val="color", value=fixed)])
    return panel


def _by_steps() -> dashboard.FieldColor:
    return dashboard.FieldColor().mode(models.FieldColorModeId.THRESHOLDS)


SEVERITIES = {"page": RED, "warning": "orange", "info": BLUE}


def link_to_model(label: str) -> models.DynamicConfigValue:
    """Let the cells of a column of models lead to the dashboard of the model."""
    value = f"${{__data.fields.{label}:percentencode}}"
    url = f"/d/driftline-model?var-model={value}&${{__url_time_range}}&var-datasource=${{datasource}}"
    return models.DynamicConfigValue(id_val="links", value=[{"title": "Open the model", "url": url}])


# ---- dashboards --------------------------------------------------------------------------------------------


def variable(
    name: str, text: str, metric: str, *, label: str = "", newest_first: bool = False
) -> dashboard.QueryVariable:
    """A variable with the values that a label has in a metric."""
    asked = f"label_values({metric}, {label or name})"
    sort = models.VariableSort.NATURAL_DESC if newest_first else models.VariableSort.NATURAL_ASC
    made = dashboard.QueryVariable(name).label(name).description(text).datasource(SOURCE)
    return (
        made.query({"query": asked, "refId": name})
        .definition(asked)
        .sort(sort)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
    )


def several(made: dashboard.QueryVariable) -> dashboard.QueryVariable:
    """Let several values be chosen, and begin with all of them, however many there are."""
    return (
        made.multi(True)
        .include_all(True)
        .all_value(".*")
        .current(models.VariableOption(selected=True, text=["All"], value=["$__all"]))
    )


def board(
    uid: str,
    title: str,
    text: str,
    variables: Sequence[dashboard.QueryVariable],
    parts: Sequence[tuple[str, Sequence[Panel]]],
    *,
    annotations: Sequence[dashboard.AnnotationQuery] = (),
) -> models.Dashboard:
    """A dashboard of rows with a title each; panels are numbered and laid out in their order."""
    source = dashboard.DatasourceVariable("datasource").label("data source").type("prometheus")
    others = dashboard.DashboardLink("Driftline").type(models.DashboardLinkType.DASHBOARDS).tags(["driftline"])
    made = dashboard.Dashboard(title).uid(uid).description(text).tags(["driftline"]).editable().refresh("1m")
    made = made.time("now-7d", "now").timezone("browser").tooltip(models.DashboardCursorSync.CROSSHAIR)
    made = made.link(others.include_vars(True).keep_time(True).icon("external link").tooltip("Other dashboards"))
    for one in (source, *variables):
        made = made.with_variable(one)
    for shown in annotations:
        made = made.annotation(shown)
    place = 0
    for name, panels in parts:
        place += 1
        made = made.with_row(dashboard.Row(name).id(place))
        for panel in panels:
            place += 1
            made = made.with_panel(panel.id(place))
    return made.build()


def firing(matchers: str) -> dashboard.AnnotationQuery:
    """Mark the time in which alerts of a model fire."""
    said = dashboard.AnnotationQuery().name("Alerts firing").datasource(SOURCE).enable(True).icon_color(RED)
    said = said.expr(f"max by (severity) (driftline_alerts{{{matchers}}}) > 0").step("60s")
    return said.title_format("{{severity}} alert firing").text_format("").tag_keys("severity")
