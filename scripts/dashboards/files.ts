// The dashboards as files for Grafana.

import { inside } from './inside.ts'
import { overview } from './overview.ts'

/** The text of each file, by its name in grafana/dashboards/. */
export const dashboardFiles: Readonly<Record<string, string>> = {
  'overview.json': text(overview),
  'inside.json': text(inside),
}

function text(dashboard: { build(): unknown }): string {
  return `${JSON.stringify(dashboard.build(), undefined, 2)}\n`
}
