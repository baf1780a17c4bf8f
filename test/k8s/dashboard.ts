import { readFileSync } from 'node:fs';
import path from 'node:path';
import { MANIFESTS } from './manifest-files.ts';

export interface Panel {
  readonly title: string;
  readonly description?: string;
  readonly type: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly targets?: readonly Target[];
  readonly options?: { readonly legend?: { readonly calcs: readonly string[] } };
  readonly fieldConfig?: { readonly defaults: { readonly thresholds?: object } };
}

export interface Target {
  readonly expr: string;
  /** With the names of labels in double braces. */
  readonly legendFormat?: string;
  readonly instant?: boolean;
  /** The shortest step. */
  readonly interval?: string;
}

export interface Dashboard {
  readonly panels: readonly Panel[];
  readonly templating: {
    readonly list: readonly { readonly name: string; readonly type: string; readonly query: string }[];
  };
}

export const DASHBOARD = path.join(MANIFESTS, 'components/grafana/dashboard.json');

export function dashboard(): Dashboard {
  return JSON.parse(readFileSync(DASHBOARD, 'utf8'));
}
