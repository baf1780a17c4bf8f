import { readFileSync } from 'node:fs';
import * as v from 'valibot';
import type { Option } from '../../src/config/option.ts';

/** As the configuration makes it of what is written: through the option's schema, of a file its text. */
export function parsed({ schema, file }: Option, written: string | boolean): unknown {
  return v.parse(schema, file ? readFileSync(String(written), 'utf8').trimEnd() : written);
}
