/**
 * `npm run bench [-- --only capture,footprint,exec,kubernetes,short-lived-pods,redact,store,log-tail,kafka,elasticsearch] [-- --peer-oom-notifier PATH]`
 * Everything is measured side by side in one run and printed as tables; nothing here passes or fails.
 */
import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { whyNoKills } from '../test/kills/kills.ts';

const { values } = parseArgs({
  options: { only: { type: 'string' }, 'peer-oom-notifier': { type: 'string' } },
});

const kills = whyNoKills();

const benches: Record<string, () => Promise<void> | void> = {
  capture: async () => {
    const { benchCapture } = await import('./capture.ts');
    await benchCapture(values['peer-oom-notifier']);
  },
  footprint: async () => {
    const { benchFootprint } = await import('./footprint.ts');
    await benchFootprint();
  },
  exec: async () => {
    const { benchExecCost } = await import('./footprint.ts');
    await benchExecCost();
  },
  kubernetes: async () => {
    const { benchKubernetes } = await import('./kubernetes.ts');
    await benchKubernetes();
  },
  'short-lived-pods': () => script('../test/kubernetes/run.ts', '--bench', 'short-lived-pods'),
  redact: () => script('redact.ts'),
  store: () => script('store.ts'),
  'log-tail': () => script('log-tail.ts'),
  kafka: () => script('kafka-delivery.ts'),
  elasticsearch: () => script('elasticsearch-delivery.ts'),
};
const NEED_KILLS = new Set(['capture', 'footprint', 'exec', 'kubernetes', 'short-lived-pods']);

function script(name: string, ...args: readonly string[]): void {
  execFileSync(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', path.join(import.meta.dirname, name), ...args],
    { stdio: 'inherit' },
  );
}

const wanted = values.only?.split(',') ?? Object.keys(benches);
for (const name of wanted) {
  const bench = benches[name];
  if (bench === undefined) {
    console.error(`bench: --only ${name}: no such bench. There are ${Object.keys(benches).join(', ')}.`);
    process.exitCode = 2;
    break;
  }
  if (kills !== undefined && NEED_KILLS.has(name)) console.error(`bench: ${name} is left out: it ${kills}`);
  else await bench();
}
