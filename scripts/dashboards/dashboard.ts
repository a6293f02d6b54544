// What all dashboards have in common: their variables, their links to each other, and what is marked on all panels.

import {
  AnnotationQueryBuilder,
  DashboardBuilder,
  DashboardCursorSync,
  DashboardLinkBuilder,
  DashboardLinkType,
  DatasourceVariableBuilder,
  QueryVariableBuilder,
  RowBuilder,
  TimePickerBuilder,
  VariableRefresh,
  VariableSort,
} from '@grafana/grafana-foundation-sdk/dashboard'
import { DataqueryBuilder } from '@grafana/grafana-foundation-sdk/prometheus'
import type { heatmap, lines, stat, states, table } from './panels.ts'
import { source } from './panels.ts'
import { of } from './promql.ts'

type Panel = ReturnType<typeof lines | typeof stat | typeof heatmap | typeof states | typeof table>

/** Rows of panels, by the heads of the rows. */
export type Rows = Record<string, Panel[]>

/** A dashboard with the variables that every query of promql.ts uses, and those of its own. */
export function dashboard(
  uid: string,
  title: string,
  description: string,
  rows: Rows,
  variables: QueryVariableBuilder[] = [],
): DashboardBuilder {
  const builder = new DashboardBuilder(title)
    .uid(uid)
    .description(description)
    .tags(['millrace'])
    .time({ from: 'now-30m', to: 'now' })
    .timezone('browser')
    .timepicker(new TimePickerBuilder().refreshIntervals(['5s', '10s', '30s', '1m', '5m']))
    .refresh('10s')
    .tooltip(DashboardCursorSync.Crosshair)
    .link(
      new DashboardLinkBuilder('millrace')
        .type(DashboardLinkType.Dashboards)
        .tags(['millrace'])
        .icon('external link')
        .tooltip('The other dashboards of millrace, at the same time and with the same choice')
        .includeVars(true)
        .keepTime(true),
    )
    .withVariable(new DatasourceVariableBuilder('datasource').label('Prometheus').type('prometheus'))
    .withVariable(choice('job', 'Job', 'label_values(millrace_ready, job)'))
    .withVariable(choice('instance', 'Daemon', 'label_values(millrace_ready{job=~"$job"}, instance)'))
  for (const variable of variables) builder.withVariable(variable)
  builder
    .annotation(
      mark(
        'Worker restarts',
        'orange',
        `sum by (instance, role, worker) (increase(${of('millrace_worker_restarts_total')}[1m])) > 0`,
        '{{role}} {{worker}} was started again',
      ),
    )
    .annotation(
      mark(
        'Daemon starts',
        'purple',
        `changes(${of('process_start_time_seconds', 'role="primary"')}[1m]) > 0`,
        '{{instance}} was started',
      ),
    )
    .annotation(
      mark(
        'Alerts',
        'red',
        `${of('ALERTS', 'alertname=~"Millrace.*"', 'alertstate="firing"')}`,
        '{{alertname}}',
        '{{severity}}',
      ),
    )
  let id = 1 // addresses of single panels hold it
  for (const [head, panels] of Object.entries(rows)) {
    builder.withRow(new RowBuilder(head).id(id++))
    for (const panel of panels) builder.withPanel(panel.id(id++))
  }
  return builder
}

/** A variable of the values that a label has; all of them by default, several may be chosen. */
export function choice(name: string, label: string, query: string): QueryVariableBuilder {
  return new QueryVariableBuilder(name)
    .label(label)
    .datasource(source)
    .query({ qryType: 1, query, refId: `variable-${name}` })
    .definition(query)
    .refresh(VariableRefresh.OnTimeRangeChanged)
    .sort(VariableSort.AlphabeticalAsc)
    .multi(true)
    .includeAll(true)
    .allValue('.*')
    .current({ selected: true, text: ['All'], value: ['$__all'] })
}

function mark(
  name: string,
  color: string,
  expr: string,
  title: string,
  text = '{{instance}}',
): AnnotationQueryBuilder {
  return new AnnotationQueryBuilder()
    .name(name)
    .datasource(source)
    .enable(true)
    .iconColor(color)
    .expr(expr)
    .titleFormat(title)
    .textFormat(text)
    .step('10s')
    .target(new DataqueryBuilder().datasource(source).expr(expr).refId('marks'))
}
