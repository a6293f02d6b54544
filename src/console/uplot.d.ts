// The library as the daemon serves it, beside the page.
export { default } from 'uplot'
