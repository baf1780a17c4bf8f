/** The dashboard against the types that Grafana publishes: it takes no notice of what it does not know. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import { PATIENCE_MS } from '../patience.ts';
import { temporaryFolder } from '../temporary-folder.ts';
import { DASHBOARD } from './dashboard.ts';

const ROOT = path.join(import.meta.dirname, '../..');
const MODULES = path.join(ROOT, 'node_modules');
const TYPE = path.join(import.meta.dirname, 'dashboard-type.ts');

/** What TypeScript says of a dashboard: only of the text of an object does it say that a property is not known. */
async function problems(t: TestContext, json: string): Promise<string[]> {
  const folder = temporaryFolder(t, 'oom-witness-dashboard');
  symlinkSync(MODULES, path.join(folder, 'node_modules'));
  const source = `import type { DashboardFile } from '${TYPE}';\nexport const dashboard: DashboardFile = ${json};\n`;
  writeFileSync(path.join(folder, 'dashboard.mts'), source);
  const configuration = {
    extends: path.join(ROOT, 'tsconfig.json'),
    compilerOptions: { rewriteRelativeImportExtensions: false },
    include: ['dashboard.mts'],
  };
  writeFileSync(path.join(folder, 'tsconfig.json'), JSON.stringify(configuration));
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [path.join(MODULES, 'typescript/bin/tsc'), '--project', folder, '--pretty', 'false'],
    { timeout: PATIENCE_MS },
  ).catch((error: Error & { stdout: string }) => error);
  return stdout.split('\n').filter(Boolean);
}

describe('the dashboard, by the types of Grafana', () => {
  const json = readFileSync(DASHBOARD, 'utf8');

  it('has all that its panels must have, and nothing that they do not know', async (t) => {
    assert.deepEqual(await problems(t, json), []);
  });

  for (const [what, from, to] of [
    ['a misspelt option', '"colorMode"', '"colourMode"'],
    ['a value that does not exist', '"drawStyle": "bars"', '"drawStyle": "columns"'],
    ['an option of another kind of panel', '"rowHeight"', '"lineWidth"'],
    ['a misspelt property of a query', '"legendFormat"', '"legend"'],
    ['a misspelt property of a variable', '"includeAll"', '"includeEverything"'],
    ['a kind of panel that does not exist', '"type": "stat"', '"type": "stats"'],
  ] as const)
    it(`${what} would be refused`, async (t) => {
      assert.ok(json.includes(from));
      const [problem] = await problems(t, json.replace(from, to));
      assert.match(problem ?? '', /^\S+dashboard\.mts\(\d+,\d+\): error TS2/);
    });
});
