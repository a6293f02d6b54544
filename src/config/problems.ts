// What is thrown when a configuration cannot be used.

/** Everything that is wrong with a configuration, one problem each, in the words for the person who wrote it. */
export class ConfigError extends Error {
  override name = 'ConfigError'
  /** Each begins with its place: `file:line:column`, the name of an environment variable, or the option. */
  readonly problems: string[]

  constructor(problems: string[]) {
    super(problems.join('\n'))
    this.problems = problems
  }
}
