// The kinds of panel that the dashboards use, as they look everywhere: sizes in 24ths of the width, colours that stand for
// the same thing on every panel, legends with numbers.

import * as common from '@grafana/grafana-foundation-sdk/common'
import {
  AxisPlacement,
  BigValueColorMode,
  BigValueGraphMode,
  BigValueTextMode,
  GraphGradientMode,
  GraphThresholdsStyleMode,
  LegendDisplayMode,
  LegendPlacement,
  ScaleDistribution,
  SortOrder,
  StackingMode,
  TableCellHeight,
  TooltipDisplayMode,
  VisibilityMode,
} from '@grafana/grafana-foundation-sdk/common'
import {
  type DynamicConfigValue,
  FieldColorBuilder,
  FieldColorModeId,
  MappingType,
  ThresholdsConfigBuilder,
  ThresholdsMode,
  type ValueMapping,
} from '@grafana/grafana-foundation-sdk/dashboard'
import * as heatmaps from '@grafana/grafana-foundation-sdk/heatmap'
import { DataqueryBuilder, PromQueryFormat } from '@grafana/grafana-foundation-sdk/prometheus'
import * as stats from '@grafana/grafana-foundation-sdk/stat'
import * as timelines from '@grafana/grafana-foundation-sdk/statetimeline'
import * as tables from '@grafana/grafana-foundation-sdk/table'
import * as graphs from '@grafana/grafana-foundation-sdk/timeseries'

/** The variable that chooses the Prometheus. */
export const source = { type: 'prometheus', uid: '$datasource' }

/** Colours by what a series is. Names of Grafana's palette, so that they suit light and dark. */
export const colors = {
  accepted: 'blue',
  processed: 'green',
  good: 'green',
  warning: 'yellow',
  bad: 'red',
  neutral: 'text',
  median: 'green',
  p95: 'yellow',
  p99: 'orange',
  worst: 'red',
  primary: 'purple',
  listener: 'blue',
  processor: 'green',
  gateway: 'orange',
} as const

/** Series of a quantile, a role or a status class have their colour on every panel. */
const colorOf: [series: string, color: string][] = [
  ['^p50( |$)', colors.median],
  ['^p95( |$)', colors.p95],
  ['^p99( |$)', colors.p99],
  ['^max( |$)', colors.worst],
  ['^primary( |$)', colors.primary],
  ['^listener( |$)', colors.listener],
  ['^processor( |$)', colors.processor],
  ['^gateway( |$)', colors.gateway],
  ['^2\\d\\d$', 'green'],
  ['^4(?!29)\\d\\d$', 'yellow'],
  ['^429$', 'orange'],
  ['^5\\d\\d$', 'red'],
  ['^accepted$', colors.accepted],
  ['^processed$', colors.processed],
]

/** A query and what its series are called: `{{label}}` stands for a label's value. */
export type Query = [expr: string, legend: string]

interface Common {
  title: string
  /** For whoever is woken at night: what is good, and what to do when it is not. */
  description: string
  queries: Query[]
  /** A unit of Grafana: s, bytes, Bps, percentunit, short, … */
  unit?: string
  /** Of 24. */
  width: number
  height?: number
  decimals?: number
}

/** From these values on it is a warning, and bad. */
interface Limits {
  warning?: number
  bad?: number
}

export interface Lines extends Common, Limits {
  stacked?: true
  max?: number
  /** Values from one to a million on one panel. */
  logarithmic?: true
  /** Colours of series by their names, as regular expressions, before those that hold everywhere. */
  color?: Record<string, string>
}

/** Values over time, with the last and the greatest of each series in the legend. */
export function lines(panel: Lines): graphs.PanelBuilder {
  const { queries, stacked, max, logarithmic, color = {}, warning, bad } = panel
  const builder = new graphs.PanelBuilder()
  named(builder, panel)
    .min(0)
    .lineWidth(1)
    .fillOpacity(stacked ? 40 : 10)
    .gradientMode(stacked ? GraphGradientMode.None : GraphGradientMode.Opacity)
    .showPoints(VisibilityMode.Never)
    .spanNulls(false)
    .colorScheme(new FieldColorBuilder().mode(FieldColorModeId.PaletteClassicByName))
    .tooltip(new common.VizTooltipOptionsBuilder().mode(TooltipDisplayMode.Multi).sort(SortOrder.Descending))
    .legend(
      new common.VizLegendOptionsBuilder()
        .displayMode(LegendDisplayMode.Table)
        .placement(LegendPlacement.Bottom)
        .showLegend(true)
        .calcs(['lastNotNull', 'max'])
        .sortBy('Max')
        .sortDesc(true),
    )
  if (max !== undefined) builder.max(max)
  if (stacked) builder.stacking(new common.StackingConfigBuilder().mode(StackingMode.Normal).group('A'))
  if (logarithmic) {
    builder.scaleDistribution(new common.ScaleDistributionConfigBuilder().type(ScaleDistribution.Log).log(10))
  }
  if (warning !== undefined || bad !== undefined) {
    builder
      .thresholds(limits(panel, 'transparent'))
      .thresholdsStyle(
        new common.GraphThresholdsStyleConfigBuilder().mode(GraphThresholdsStyleMode.DashedAndArea),
      )
  }
  for (const [series, fixed] of [...colorOf, ...Object.entries(color)]) {
    if (series in color || matchesAny(series, queries))
      builder.overrideByRegexp(slashed(series), [fixedColor(fixed)])
  }
  queries.forEach((query, at) => {
    builder.withTarget(target(query, at))
  })
  return builder
}

export interface Stat extends Common, Limits {
  /** The background is the colour of the state: for what must not be overlooked. */
  loud?: true
  /** A line of the recent past behind the number. */
  trend?: true
  /** Words for values. */
  words?: Record<string, [text: string, color: string]>
  color?: string
}

/** One number, large. */
export function stat(panel: Stat): stats.PanelBuilder {
  const { queries, loud, trend, words, color = colors.neutral } = panel
  const builder = new stats.PanelBuilder()
  named(builder, { height: 4, ...panel })
    .colorMode(loud ? BigValueColorMode.Background : BigValueColorMode.Value)
    .graphMode(trend ? BigValueGraphMode.Area : BigValueGraphMode.None)
    .textMode(BigValueTextMode.Value)
    .reduceOptions(new common.ReduceDataOptionsBuilder().calcs(['lastNotNull']).values(false))
    .thresholds(limits(panel, color))
    .colorScheme(new FieldColorBuilder().mode(FieldColorModeId.Thresholds))
  if (words !== undefined) builder.mappings(mappings(words))
  queries.forEach((query, at) => {
    builder.withTarget(target(query, at))
  })
  return builder
}

/** How the values of a histogram are spread, over time: of all observations, not of a mean. */
export function heatmap(panel: Common): heatmaps.PanelBuilder {
  const builder = new heatmaps.PanelBuilder()
  const { queries, unit = 's' } = panel
  named(builder, panel)
    .calculate(false)
    .color(
      new heatmaps.HeatmapColorOptionsBuilder()
        .mode(heatmaps.HeatmapColorMode.Scheme)
        .scheme('Turbo')
        .exponent(0.5)
        .steps(64)
        .reverse(false),
    )
    .cellGap(1)
    .yAxis(new heatmaps.YAxisConfigBuilder().unit(unit).axisPlacement(AxisPlacement.Left))
    .filterValues(new heatmaps.FilterValueRangeBuilder().le(1e-9))
    .tooltip(
      new heatmaps.HeatmapTooltipBuilder()
        .mode(TooltipDisplayMode.Single)
        .yHistogram(true)
        .showColorScale(true),
    )
  queries.forEach((query, at) => {
    builder.withTarget(target(query, at).format(PromQueryFormat.Heatmap))
  })
  return builder
}

export interface States extends Common {
  words: Record<string, [text: string, color: string]>
}

/** A bar for each series, in the colour of its state at each time. */
export function states(panel: States): timelines.PanelBuilder {
  const builder = new timelines.PanelBuilder()
  named(builder, panel)
    .mappings(mappings(panel.words))
    .mergeValues(true)
    .showValue(VisibilityMode.Never)
    .rowHeight(0.8)
    .fillOpacity(80)
    .lineWidth(0)
    .colorScheme(new FieldColorBuilder().mode(FieldColorModeId.Fixed).fixedColor(colors.neutral))
    .legend(
      new common.VizLegendOptionsBuilder()
        .displayMode(LegendDisplayMode.List)
        .placement(LegendPlacement.Bottom)
        .showLegend(true)
        .calcs([]),
    )
    .tooltip(new common.VizTooltipOptionsBuilder().mode(TooltipDisplayMode.Single))
  panel.queries.forEach((query, at) => {
    builder.withTarget(target(query, at))
  })
  return builder
}

export interface Table extends Common {
  /** The labels to show, in this order, each with the head of its column. */
  columns: Record<string, string>
}

/** Labels of series as they are now, one series a row. */
export function table(panel: Table): tables.PanelBuilder {
  const names = Object.keys(panel.columns)
  const builder = new tables.PanelBuilder()
  named(builder, panel)
    .cellHeight(TableCellHeight.Sm)
    .withTransformation({ id: 'filterFieldsByName', options: { include: { names } } })
    .withTransformation({
      id: 'organize',
      options: {
        indexByName: Object.fromEntries(names.map((name, at) => [name, at])),
        renameByName: panel.columns,
      },
    })
  panel.queries.forEach((query, at) => {
    builder.withTarget(target(query, at).instant().format(PromQueryFormat.Table))
  })
  return builder
}

interface Named<B> {
  title(title: string): B
  description(text: string): B
  datasource(ref: typeof source): B
  span(width: number): B
  height(height: number): B
  unit(unit: string): B
  decimals(decimals: number): B
}

function named<B extends Named<B>>(builder: B, panel: Common): B {
  const { title, description, width, height = 8, unit = 'short', decimals } = panel
  builder.title(title).description(description).datasource(source).span(width).height(height).unit(unit)
  return decimals === undefined ? builder : builder.decimals(decimals)
}

function target([expr, legend]: Query, at: number): DataqueryBuilder {
  return new DataqueryBuilder()
    .datasource(source)
    .expr(expr)
    .legendFormat(legend)
    .range()
    .refId(String.fromCharCode(65 + at))
}

function limits({ warning, bad }: Limits, below: string): ThresholdsConfigBuilder {
  const steps = [
    { value: null, color: below },
    ...(warning === undefined ? [] : [{ value: warning, color: colors.warning }]),
    ...(bad === undefined ? [] : [{ value: bad, color: colors.bad }]),
  ]
  return new ThresholdsConfigBuilder().mode(ThresholdsMode.Absolute).steps(steps)
}

function mappings(words: Record<string, [text: string, color: string]>): ValueMapping[] {
  const options = Object.entries(words).map(([value, [text, color]], index) => [
    value,
    { text, color, index },
  ])
  return [{ type: MappingType.ValueToText, options: Object.fromEntries(options) }]
}

function fixedColor(color: string): DynamicConfigValue {
  return { id: 'color', value: { mode: 'fixed', fixedColor: color } }
}

/** Whether series of these queries can have such a name: those named by a label alone can have any. */
function matchesAny(series: string, queries: Query[]): boolean {
  return queries.some(([, legend]) => legend.startsWith('{{') || new RegExp(series).test(legend))
}

function slashed(pattern: string): string {
  return `/${pattern}/`
}
