import { readFileSync } from 'node:fs';
import path from 'node:path';
import { parse } from 'yaml';
import { MANIFESTS } from './manifest-files.ts';

export interface AlertRule {
  readonly alert: string;
  readonly expr: string;
  readonly for?: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

export interface RuleGroups {
  readonly groups: readonly { readonly name: string; readonly rules: readonly AlertRule[] }[];
}

/** The part of the PrometheusRule that is a rules file of Prometheus itself. */
export function ruleGroups(): RuleGroups {
  const file = path.join(MANIFESTS, 'components/prometheus-operator/prometheus-rule.yaml');
  return parse(readFileSync(file, 'utf8')).spec;
}

/** For promtool: what has to fire, and when. */
export const ALERT_TESTS = path.join(import.meta.dirname, 'alerts.yaml');

export interface AlertTest {
  readonly name: string;
  readonly alert_rule_test: readonly {
    readonly alertname: string;
    readonly eval_time: string;
    readonly exp_alerts?: readonly unknown[];
  }[];
}

export function alertTests(): readonly AlertTest[] {
  return parse(readFileSync(ALERT_TESTS, 'utf8')).tests;
}
