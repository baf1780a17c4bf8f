import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ProgramPort, RETRY_MS } from '../../src/metrics/program-port.ts';
import { kubernetesOomEventGenerator as program } from '../../src/replaced/kubernetes-oom-event-generator.ts';
import { openMetricsPort } from '../../src/server/metrics-port.ts';
import { until } from '../sinks/contract.ts';

const HOST = '127.0.0.1';

/** The program itself, which still runs, and the port in its place. */
async function beside(t: TestContext) {
  const other = createServer().listen(0, HOST);
  t.after(() => other.close());
  await once(other, 'listening');
  const { port: number } = other.address() as AddressInfo;
  const said: string[] = [];
  const port = new ProgramPort(
    { program, listen: { host: HOST, port: number }, listenOption: 'oom-event-generator-address' },
    { contentType: 'text/plain', scrape: async () => 'page', failed: assert.fail },
    openMetricsPort,
    { replacing: (...words) => said.push(words.join()), notListening: (reason) => said.push(reason) },
  );
  t.after(() => port.close());
  await port.open();
  return { other, port, said, url: `http://${HOST}:${number}/` };
}

test('a port that is taken is said once, and opened when the program that is replaced has ended', async (t) => {
  const { other, port, said, url } = await beside(t);
  const taken = `--oom-event-generator-address ${new URL(url).host}: the port is in use. Choose another one, or stop the program that is replaced.`;
  assert.deepEqual(port.part, {
    name: 'metrics in place of kubernetes-oom-event-generator',
    works: false,
    problem: taken,
    cost: 'who scrapes them gets no answer of this agent',
  });
  await sleep(2 * RETRY_MS);
  assert.deepEqual(said, [taken]);

  other.close();
  await until(() => said.length > 1, 'opening it');
  assert.deepEqual(said, [taken, `kubernetes-oom-event-generator,${url}`]);
  assert.equal(port.part.works, true);
  assert.equal(await (await fetch(`${url}metrics`)).text(), 'page');
});

test('closed while it waits for its port, it takes it no more', async (t) => {
  const { other, port, said, url } = await beside(t);
  await port.close();
  other.close();
  await once(other, 'close');
  await sleep(2 * RETRY_MS);
  await assert.rejects(fetch(url));
  assert.equal(said.length, 1);
});
