// Elements. Whatever is put into them is text: nothing that an event holds is ever read as HTML.

export type Content = string | Node | (string | Node)[]

/** The element of this id, which the page has. */
export function byId<T extends HTMLElement = HTMLElement>(id: string): T {
  const found = document.getElementById(id)
  if (found === null) throw new Error(`the page has no #${id}`)
  return found as T
}

/** A new element. Attributes that are undefined are left out. */
export function element<K extends keyof HTMLElementTagNameMap>(
  name: K,
  attributes: Record<string, string | undefined>,
  content: Content = [],
): HTMLElementTagNameMap[K] {
  const made = document.createElement(name)
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined) made.setAttribute(key, value)
  }
  made.append(...(Array.isArray(content) ? content : [content]))
  return made
}

/** Changes the text only where it is another one: screen readers and layouts are left in peace. */
export function say(to: Element, text: string): void {
  if (to.textContent !== text) to.textContent = text
}

export function show(what: HTMLElement, visible: boolean): void {
  what.hidden = !visible
}

/** The value of a named field of a form, without spaces around it. */
export function field(form: HTMLFormElement, name: string): string {
  return String(new FormData(form).get(name) ?? '').trim()
}

/** A list of terms and values. */
export function terms(list: Element, pairs: readonly (readonly [string, string])[]): void {
  list.replaceChildren(
    ...pairs.map(([term, value]) => element('div', {}, [element('dt', {}, term), element('dd', {}, value)])),
  )
}
