// Light or dark, as `data-theme` of the document: what the system says, until somebody chooses. Runs before anything is
// painted, so it is no module.
{
  const KEPT = 'millrace-theme'
  const root = document.documentElement
  const system = matchMedia('(prefers-color-scheme: dark)')
  const chosen = () => {
    const kept = localStorage.getItem(KEPT)
    return kept === 'dark' || kept === 'light' ? kept : undefined
  }
  const set = () => {
    root.dataset.theme = chosen() ?? (system.matches ? 'dark' : 'light')
    document.querySelector('#theme')?.setAttribute('aria-pressed', String(root.dataset.theme === 'dark'))
    document.dispatchEvent(new Event('theme')) // charts are painted anew
  }
  set()
  system.addEventListener('change', set)
  document.addEventListener('DOMContentLoaded', () => {
    set()
    document.querySelector('#theme')?.addEventListener('click', () => {
      localStorage.setItem(KEPT, root.dataset.theme === 'dark' ? 'light' : 'dark')
      set()
    })
  })
}
