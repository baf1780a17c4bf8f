import assert from 'node:assert/strict';
import * as elasticsearch from '../../sinks/elasticsearch.ts';
import type { ElasticsearchSettings } from '../../src/elasticsearch/settings.ts';
import type { Outcome, Sink, SinkContext } from '../../src/sink.ts';
import { sinkContext } from './context.ts';
import { parsed } from './option-values.ts';

/** As the command line gives them, without the prefix: each text through its option's schema. */
export function settings(texts: Readonly<Record<string, string>>): ElasticsearchSettings | undefined {
  return elasticsearch.settings(
    Object.fromEntries(
      Object.entries(texts).map(([name, text]) => {
        const option = elasticsearch.options.find((one) => one.name === `elasticsearch-${name}`);
        assert.ok(option, `no option elasticsearch-${name}`);
        return [option.name, parsed(option, text)];
      }),
    ),
  );
}

/** A sink that writes to the index `oom` there; closed with the test if it is given. */
export async function openAt(
  server: string,
  t?: { after(clean: () => Promise<void>): void },
  context?: Partial<SinkContext>,
): Promise<Sink> {
  const sink = await elasticsearch.open(settings({ server, index: 'oom' })!, sinkContext(context));
  t?.after(() => sink.close());
  return sink;
}

export function reasonOf(outcome: Outcome | undefined, kind: 'retry' | 'rejected'): string {
  assert.equal(outcome?.kind, kind, JSON.stringify(outcome));
  return outcome && 'reason' in outcome ? outcome.reason : '';
}
