// The dashboards as a test looks at them: every query in them, with what it belongs to.

import { dashboardFiles } from '../scripts/dashboards/files.ts'
import { labelsOfLegend } from './promql.ts'

export interface Panel {
  id: number
  type: string
  title: string
  description?: string
  gridPos: { x: number; y: number; w: number; h: number }
  targets?: { expr: string; legendFormat: string; refId: string; instant?: boolean }[]
  transformations?: { id: string; options: { include?: { names: string[] } } }[]
  fieldConfig?: { defaults: { unit?: string } }
}

export interface Dashboard {
  uid: string
  title: string
  panels: Panel[]
  templating: { list: { name: string; type: string; query: string | { query: string } }[] }
  annotations: { list: { name: string; expr: string; titleFormat: string; textFormat: string }[] }
  links: { tags: string[] }[]
  tags: string[]
}

export const dashboards: Dashboard[] = Object.values(dashboardFiles).map((text) => JSON.parse(text))

/** A query of a panel or a mark, and what shows it. */
export interface Shown {
  where: string
  expr: string
  /** The labels that its series must have to be told apart. */
  labels: string[]
  instant: boolean
  /** Of a heatmap, nothing but zeros is nothing to see. */
  heatmap: boolean
}

/** The panels of a dashboard that show something. */
export function panelsOf(dashboard: Dashboard): Panel[] {
  return dashboard.panels.filter(({ type }) => type !== 'row')
}

/** All queries of the dashboards. */
export function shown(): Shown[] {
  return dashboards.flatMap((dashboard) => [
    ...panelsOf(dashboard).flatMap(({ title, type, targets = [], transformations = [] }) =>
      targets.map(({ expr, legendFormat, instant = false }) => ({
        where: `${dashboard.title}, ${title}`,
        expr,
        labels: [
          ...labelsOfLegend(legendFormat),
          ...transformations.flatMap(({ options }) => options.include?.names ?? []),
        ],
        instant,
        heatmap: type === 'heatmap',
      })),
    ),
    ...dashboard.annotations.list.map(({ name, expr, titleFormat, textFormat }) => ({
      where: `${dashboard.title}, the mark ${name}`,
      expr,
      labels: [...labelsOfLegend(titleFormat), ...labelsOfLegend(textFormat)],
      instant: false,
      heatmap: false,
    })),
  ])
}

/** The variables that ask Prometheus: `label_values(selector, label)`. */
export function asked(): { where: string; selector: string; label: string }[] {
  return dashboards.flatMap(({ title, templating }) =>
    templating.list.flatMap(({ name, query }) => {
      const [, selector, label] =
        /^label_values\((.*), (\w+)\)$/.exec(typeof query === 'string' ? query : query.query) ?? []
      return selector === undefined ? [] : [{ where: `${title}, the variable ${name}`, selector, label }]
    }),
  )
}
