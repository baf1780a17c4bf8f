/** A page of metrics as text, taken apart no further than a comparison needs: labels stay as they were written. */
export interface ShownFamily {
  readonly type?: string;
  readonly help?: string;
  /** `name{label="value"}` -> its value. */
  readonly series: ReadonlyMap<string, number>;
}

/** The families whose names begin like this. */
export function shownFamilies(page: string, prefix: string): Readonly<Record<string, ShownFamily>> {
  const families: Record<string, { type?: string; help?: string; series: Map<string, number> }> = {};
  const family = (name: string) => (families[name] ??= { series: new Map() });
  for (const line of page.split('\n')) {
    const [, kind, name = '', text = ''] = /^# (HELP|TYPE) (\S+) ?(.*)$/.exec(line) ?? [];
    if (kind !== undefined) {
      if (name.startsWith(prefix)) family(name)[kind === 'HELP' ? 'help' : 'type'] = text;
    } else if (line.startsWith(prefix)) {
      const end = line.lastIndexOf(' ');
      const series = line.slice(0, end);
      family(/^\w+/.exec(series)![0]).series.set(series, Number(line.slice(end + 1)));
    }
  }
  return families;
}

/** The series of all of them that have this text in their labels. */
export function seriesWith(
  families: Readonly<Record<string, ShownFamily>>,
  text: string,
): Record<string, number> {
  const found = Object.values(families).flatMap(({ series }) => [...series]);
  return Object.fromEntries(found.filter(([labels]) => labels.includes(text)).sort());
}

/** Families without their series. */
export function headings(families: Readonly<Record<string, ShownFamily>>): Record<string, object> {
  return Object.fromEntries(Object.entries(families).map(([name, { type, help }]) => [name, { type, help }]));
}
