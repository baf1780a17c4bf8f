/** HTML that was made by `html`: every text in it is escaped, so what comes from outside cannot become markup. */
export class Html {
  readonly source: string;

  constructor(source: string) {
    this.source = source;
  }
}

type Value = Html | string | number | undefined | readonly Value[];

/** A template tag: texts are escaped, Html is not, lists are joined, undefined is nothing. */
export function html(strings: TemplateStringsArray, ...values: readonly Value[]): Html {
  return new Html(strings.reduce((before, string, index) => before + written(values[index - 1]) + string));
}

function written(value: Value): string {
  if (value === undefined) return '';
  if (value instanceof Html) return value.source;
  if (typeof value === 'object') return value.map(written).join('');
  return String(value).replace(SPECIAL, (character) => `&#${character.charCodeAt(0)};`);
}

const SPECIAL = /[&<>"'`]/g;
