import { readFileSync } from 'node:fs';
import path from 'node:path';
import { MANIFESTS } from './manifest-files.ts';

export interface Panel {
  readonly title: string;
  readonly description?: string;
  readonly type: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly targets?: readonly { readonly expr: string }[];
}

export interface Dashboard {
  readonly panels: readonly Panel[];
  readonly templating: { readonly list: readonly { readonly name: string; readonly definition?: string }[] };
}

export function dashboard(): Dashboard {
  const file = path.join(MANIFESTS, 'components/grafana/dashboard.json');
  return JSON.parse(readFileSync(file, 'utf8'));
}

/** As Grafana asks it with everything selected. */
export function asked(expr: string): string {
  return expr.replaceAll(/\$(namespace|node)\b/g, '.*').replaceAll(/\$__(range|rate_interval)\b/g, '1m');
}
