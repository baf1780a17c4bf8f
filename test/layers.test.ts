import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';

const ROOT = path.join(import.meta.dirname, '..');

/** file -> the files of this tree that it imports; paths from the root. */
const imports = new Map(
  globSync(['src/**/*.ts', 'sinks/*.ts'], { cwd: ROOT }).map((file) => {
    const text = readFileSync(path.join(ROOT, file), 'utf8');
    const found = text.matchAll(/^(?:import|export)\b[^;]*?from '(\.[^']+)'/gms);
    return [file, [...found].map(([, target = '']) => path.join(path.dirname(file), target))];
  }),
);

/** Nothing in `from` may import anything in `to`. */
function assertNo(from: RegExp, to: RegExp): void {
  for (const [file, targets] of imports)
    if (from.test(file))
      assert.deepEqual(
        targets.filter((target) => to.test(target)),
        [],
        `imported by ${file}`,
      );
}

describe('data flows one way, and so do the imports', () => {
  it('the nouns import nothing', () => {
    assert.deepEqual(imports.get('src/incident.ts'), []);
  });

  it('a kernel interface knows no stage of ours', () => {
    assertNo(/^src\/kernel\//, /^(sinks|src\/(?!kernel\/|incident\.ts))/);
  });

  it('the API of Kubernetes knows no stage of ours', () => {
    assertNo(/^src\/kubernetes\//, /^(sinks|src\/(?!kubernetes\/|net\/|format\.ts|config\/small-file\.ts))/);
  });

  it('assembling knows neither processes nor clocks nor what comes after it', () => {
    assertNo(
      /^src\/assemble/,
      /^(sinks|src\/(?!assemble|kernel\/|incident\.ts|processes\/captured-process))/,
    );
  });

  it("a log's formats know no stage but assembling", () => {
    assertNo(/^src\/kernel-log\//, /^(sinks|src\/(?!kernel-log\/|kernel\/|assemble|incident\.ts))/);
  });

  it('no stage knows a sink, and neither a sink nor its client knows a stage but what people read', () => {
    assertNo(/^src\//, /^sinks\//);
    const nouns = 'incident|sink|send-in-order|event-format|format|json-line|line-file|message';
    const clients = 'elasticsearch|kafka|kubernetes|net|syslog';
    const others = new RegExp(
      `^src/(?!(${nouns})\\.ts|(${clients}|message)/|config/option\\.ts|kernel/unix-datagram\\.ts)`,
    );
    assertNo(/^sinks\//, others);
    assertNo(/^src\/(elasticsearch|kafka|syslog)\//, others);
  });

  it('the API of a container runtime knows no stage of ours', () => {
    assertNo(/^src\/(docker|containerd)\//, /^(sinks|src\/(?!docker\/|containerd\/|net\/))/);
  });

  it('the inventory knows neither who feeds it nor who reads it', () => {
    assertNo(
      /^src\/inventory\//,
      /^(sinks|src\/(?!inventory\/|kubernetes\/|kernel\/|incident\.ts|format\.ts))/,
    );
    assertNo(
      /^src\/watch\//,
      /^(sinks|src\/(agent|deliver|enrich|events|log\.ts|metrics|server|store|main))/,
    );
  });

  it('the capture thread carries nothing of the main thread', () => {
    assertNo(
      /^src\/capture\/(?!capture\.ts)/,
      /^src\/(agent|deliver|events|log|metrics|server|store|config)/,
    );
  });

  it('there is no circle', () => {
    const done = new Set<string>();
    const visit = (file: string, trail: readonly string[]): void => {
      assert.ok(!trail.includes(file), [...trail, file].join(' -> '));
      if (done.has(file)) return;
      for (const target of imports.get(file) ?? []) visit(target, [...trail, file]);
      done.add(file);
    };
    for (const file of imports.keys()) visit(file, []);
  });
});
