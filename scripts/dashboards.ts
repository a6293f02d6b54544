// `npm run dashboards`: writes what scripts/dashboards/ describes to grafana/dashboards/, as Grafana reads it. The files
// are kept in the repository for whoever has a Grafana and no Node.js; a test says that they are what this code makes.

import { mkdirSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { dashboardFiles } from './dashboards/files.ts'

const folder = resolve(import.meta.dirname, '../../grafana/dashboards')
mkdirSync(folder, { recursive: true })
for (const [name, content] of Object.entries(dashboardFiles)) writeFileSync(join(folder, name), content)
