// Light or dark: as the system says, until somebody chooses. Runs before anything is painted, so it is no module.
{
  const KEPT = 'millrace-theme'
  const root = document.documentElement
  const system = matchMedia('(prefers-color-scheme: dark)')
  const isDark = () => (root.dataset.theme ?? (system.matches ? 'dark' : 'light')) === 'dark'
  const kept = localStorage.getItem(KEPT)
  if (kept === 'dark' || kept === 'light') root.dataset.theme = kept

  const tell = () => {
    document.querySelector('#theme')?.setAttribute('aria-pressed', String(isDark()))
    document.dispatchEvent(new Event('theme')) // charts are painted anew
  }
  system.addEventListener('change', tell)
  document.addEventListener('DOMContentLoaded', () => {
    tell()
    document.querySelector('#theme')?.addEventListener('click', () => {
      root.dataset.theme = isDark() ? 'light' : 'dark'
      localStorage.setItem(KEPT, root.dataset.theme)
      tell()
    })
  })
}
