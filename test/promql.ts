// What a PromQL expression refers to, for tests that hold dashboards and rules to what there is.

/** Words before a parenthesis or after a vector that are not metrics. */
const metric = /\b(?:millrace_\w+|job(?:_instance)?:\w+:\w+|process_\w+|nodejs_\w+|up|ALERTS)\b(?!\s*\()/g

/** The names of the series that it reads. */
export function seriesIn(expr: string): string[] {
  return [...new Set(expr.replaceAll(/"[^"]*"/g, '""').match(metric) ?? [])]
}

/** The names of the labels that it matches, groups by, or joins on. */
export function labelsIn(expr: string): string[] {
  const matched = [...expr.matchAll(/(\w+)\s*(?:=~|!~|!=|=)\s*"/g)].map(([, label]) => label)
  const grouped = [...expr.matchAll(/\b(?:by|on|without|ignoring)\s*\(([^)]*)\)/g)].flatMap(([, labels]) =>
    labels.split(',').map((label) => label.trim()),
  )
  return [...new Set([...matched, ...grouped])]
}

/** The labels that a legend shows: `{{role}} {{worker}}`. */
export function labelsOfLegend(legend: string): string[] {
  return [...legend.matchAll(/\{\{\s*(\w+)\s*\}\}/g)].map(([, label]) => label)
}
