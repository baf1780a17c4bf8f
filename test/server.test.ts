import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type IncomingHttpHeaders, request } from 'node:http';
import { connect } from 'node:net';
import { describe, type TestContext, test } from 'node:test';
import type { Incident } from '../src/incident.ts';
import {
  type AgentServer,
  type AgentStatus,
  ListenError,
  type ServerOptions,
  startServer,
} from '../src/server.ts';
import { containerKill, FIRST, numbered, storm } from './incidents.ts';

const TOKEN = 'correct-horse.battery~staple';
const NOW = Date.parse('2026-11-21T03:18:15.926Z');
const WELL: AgentStatus = { alive: true, ready: true, parts: [{ name: 'kmsg', works: true }] };

function sourceOf(newestFirst: readonly Incident[]): ServerOptions['incidents'] {
  return {
    recent(limit, before) {
      const at = before === undefined ? 0 : newestFirst.findIndex(({ id }) => id === before) + 1;
      return before !== undefined && at === 0 ? [] : newestFirst.slice(at, at + limit);
    },
    get: (id) => newestFirst.find((incident) => incident.id === id),
    recurrence: () => FIRST,
  };
}

async function start(t: TestContext, options: Partial<ServerOptions> = {}): Promise<AgentServer> {
  const server = await startServer({
    listen: { host: '127.0.0.1', port: 0 },
    apiToken: undefined,
    renewedApiToken: async () => options.apiToken,
    tokenNotRenewed: (reason) => assert.fail(reason),
    hostName: 'node-7',
    incidents: sourceOf([containerKill()]),
    status: () => WELL,
    metrics: { contentType: 'text/plain; version=0.0.4', scrape: async () => 'oom_witness_x 1\n' },
    now: () => NOW,
    failed: (reason) => assert.fail(reason),
    ...options,
  });
  t.after(() => server.close());
  return server;
}

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** node:http rather than fetch, which forbids a Host header of one's own. */
async function get(
  url: string,
  path: string,
  headers: Readonly<Record<string, string>> = {},
  method = 'GET',
): Promise<Answer> {
  const { hostname, port } = new URL(url);
  const asked = request({
    host: hostname.replace(/^\[|\]$/g, ''),
    port,
    path,
    method,
    headers,
    agent: false,
  }).end();
  const [response] = await once(asked, 'response');
  let body = '';
  for await (const chunk of response.setEncoding('utf8')) body += chunk;
  return { status: response.statusCode, headers: response.headers, body };
}

const OPEN_TO_ALL = ['/metrics', '/healthz', '/readyz'];
const PRIVATE = [
  '/',
  '/api/incidents',
  `/api/incidents/${encodeURIComponent(containerKill().id)}`,
  '/elsewhere',
];

describe('what answers', () => {
  test('on loopback without a token: everything', async (t) => {
    const { url } = await start(t);
    for (const path of [...OPEN_TO_ALL, ...PRIVATE.slice(0, 3)])
      assert.equal((await get(url, path)).status, 200, path);
    assert.equal((await get(url, '/elsewhere')).status, 404);
  });

  test('/api/incidents is the newest incidents, /api/incidents/ID is one', async (t) => {
    const { url } = await start(t);
    const { body, headers } = await get(url, '/api/incidents');
    assert.deepEqual(JSON.parse(body), { incidents: [containerKill()] });
    assert.equal(headers['content-type'], 'application/json; charset=utf-8');
    assert.deepEqual(JSON.parse((await get(url, PRIVATE[2]!)).body), containerKill());
    assert.equal((await get(url, '/api/incidents/other')).status, 404);
    assert.equal((await get(url, '/api/incidents/%E0%A4%A')).status, 404);
  });

  test('what a terminal obeys is escaped', async (t) => {
    const incident = containerKill();
    const process = { ...incident.process, command_line: 'x \u009b2J\u2028' };
    const hostile = { ...incident, process };
    const { url } = await start(t, { incidents: sourceOf([hostile]) });
    for (const path of PRIVATE.slice(1, 3)) {
      const { body } = await get(url, path);
      assert.match(body, /x \\u009b2J\\u2028/);
      assert.ok(body.includes(JSON.stringify(incident.id)));
    }
  });

  test('limit and before turn pages; "next" is where the next one begins', async (t) => {
    const all = storm(45).map(({ incident }) => incident);
    const { url } = await start(t, { incidents: sourceOf(all) });
    const seen: string[] = [];
    let path = '/api/incidents?limit=20';
    for (let pages = 0; path !== '' && pages < 5; pages++) {
      const { incidents, next } = JSON.parse((await get(url, path)).body);
      seen.push(...incidents.map(({ id }: Incident) => id));
      path = next === undefined ? '' : `/api/incidents?limit=20&before=${encodeURIComponent(next)}`;
    }
    assert.deepEqual(
      seen,
      all.map(({ id }) => id),
    );
  });

  test('a limit that is none is refused', async (t) => {
    const { url } = await start(t);
    for (const limit of ['0', '501', '-1', 'x', '1e3', ''])
      assert.equal((await get(url, `/api/incidents?limit=${limit}`)).status, 400, limit);
    assert.equal((await get(url, '/api/incidents?limit=500')).status, 200);
  });

  test('500 large incidents are read a few at a time, at the speed of the reader', async (t) => {
    const large = { ...containerKill(), raw: ['x'.repeat(64 << 10)] };
    const all = Array.from({ length: 500 }, (_, index) => numbered(large, index));
    const source = sourceOf(all);
    let most = 0;
    const { url } = await start(t, {
      incidents: {
        ...source,
        recent: (limit, before) => {
          most = Math.max(most, limit);
          return source.recent(limit, before);
        },
      },
    });
    const { body } = await get(url, '/api/incidents?limit=500');
    assert.equal(JSON.parse(body).incidents.length, 500);
    assert.ok(most <= 10, `${most} at once`);
  });

  test('/readyz says what does not work and what that costs, /healthz whether a restart is needed', async (t) => {
    let status: AgentStatus = {
      alive: true,
      ready: false,
      parts: [{ name: 'kmsg', works: false, problem: 'permission denied', cost: 'kills are not seen' }],
    };
    const { url } = await start(t, { status: () => status });
    const readyz = await get(url, '/readyz');
    assert.equal(readyz.status, 503);
    assert.deepEqual(JSON.parse(readyz.body), { ready: false, parts: status.parts });
    assert.equal((await get(url, '/healthz')).status, 200);
    status = { ...status, alive: false };
    assert.equal((await get(url, '/healthz')).status, 503);
  });

  test('/metrics has the content type that Prometheus expects', async (t) => {
    const { url } = await start(t);
    const { body, headers } = await get(url, '/metrics');
    assert.equal(body, 'oom_witness_x 1\n');
    assert.equal(headers['content-type'], 'text/plain; version=0.0.4');
  });

  test('HEAD has the headers and no body; other methods are refused', async (t) => {
    const { url } = await start(t);
    for (const path of [...OPEN_TO_ALL, ...PRIVATE.slice(0, 3)]) {
      const { status, body } = await get(url, path, {}, 'HEAD');
      assert.deepEqual([status, body], [200, ''], path);
    }
    for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS', 'TRACE']) {
      const { status, headers } = await get(url, '/', {}, method);
      assert.deepEqual([status, headers.allow], [405, 'GET, HEAD'], method);
    }
  });

  test('who asks for the head of the metrics has read none: the last values of a pod that is gone stay for who does', async (t) => {
    let scrapes = 0;
    const scrape = async () => `oom_witness_x ${++scrapes}\n`;
    const { url } = await start(t, { metrics: { contentType: 'text/plain', scrape } });
    await get(url, '/metrics', {}, 'HEAD');
    assert.equal((await get(url, '/metrics')).body, 'oom_witness_x 1\n');
  });

  test('a failure of ours is a 500 for the reader and its reason for the log', async (t) => {
    const reasons: string[] = [];
    const { url } = await start(t, {
      incidents: {
        ...sourceOf([]),
        get() {
          throw new Error('disk on fire');
        },
      },
      failed: (reason) => reasons.push(reason),
    });
    const { status, body } = await get(url, '/api/incidents/x');
    assert.equal(status, 500);
    assert.ok(!body.includes('fire'));
    assert.deepEqual(reasons, ['disk on fire']);
  });
});

describe('who may read', () => {
  const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`;

  test('bound to all addresses without a token: 403 that says how to set it; the rest answers', async (t) => {
    const { url } = await start(t, { listen: { host: '0.0.0.0', port: 0 } });
    for (const path of PRIVATE) {
      const { status, body } = await get(url, path);
      assert.equal(status, 403, path);
      assert.match(body, /--api-token-file PATH/);
    }
    for (const path of OPEN_TO_ALL) assert.equal((await get(url, path)).status, 200, path);
  });

  for (const host of ['0.0.0.0', '127.0.0.1']) {
    test(`with a token on ${host}: as Bearer, or as the password of any user`, async (t) => {
      const { url } = await start(t, { listen: { host, port: 0 }, apiToken: TOKEN });
      for (const authorization of [
        `Bearer ${TOKEN}`,
        `bearer  ${TOKEN}`,
        basic(`any:${TOKEN}`),
        basic(`:${TOKEN}`),
      ])
        assert.equal((await get(url, '/', { authorization })).status, 200, authorization);

      const wrong = ['', 'Bearer', 'Bearer ', 'Bearer x', `Bearer ${TOKEN}x`, `Digest ${TOKEN}`, TOKEN];
      for (const authorization of [...wrong, basic('any:x'), basic(TOKEN), basic(`${TOKEN}:`), 'Basic ===='])
        for (const path of PRIVATE) {
          const { status, headers } = await get(url, path, { authorization });
          assert.equal(status, 401, `${path} ${authorization}`);
          assert.match(headers['www-authenticate'] ?? '', /^Basic realm=/);
        }
      for (const path of OPEN_TO_ALL) assert.equal((await get(url, path)).status, 200, path);
    });
  }

  test('while the renewed token cannot be had the one before counts, and nothing else', async (t) => {
    let renewedApiToken: ServerOptions['renewedApiToken'] = async () => TOKEN;
    const said: string[] = [];
    const { url } = await start(t, {
      apiToken: TOKEN,
      renewedApiToken: () => renewedApiToken(),
      tokenNotRenewed: (reason) => said.push(reason),
    });
    const statuses = () =>
      Promise.all(
        [
          `Bearer ${TOKEN}`,
          'Bearer next',
          basic('any:next'),
          basic('any:'),
          'Bearer ',
          'Bearer undefined',
        ].map(async (authorization) => (await get(url, '/', { authorization })).status),
      );
    const before = [200, 401, 401, 401, 401, 401];
    for (const noUse of [
      () => Promise.reject(new Error('is empty')),
      async () => undefined,
      // A dead network mount.
      () => new Promise<never>(() => {}),
    ]) {
      renewedApiToken = noUse;
      assert.deepEqual(await statuses(), before);
    }
    assert.deepEqual(new Set(said), new Set(['is empty']));
  });

  test('the token before counts no more once there is another', async (t) => {
    let token = TOKEN;
    const { url } = await start(t, { apiToken: TOKEN, renewedApiToken: async () => token });
    const status = async (text: string) =>
      (await get(url, '/api/incidents', { authorization: `Bearer ${text}` })).status;
    assert.deepEqual([await status(TOKEN), await status('next')], [200, 401]);
    token = 'next';
    assert.deepEqual([await status(TOKEN), await status('next')], [401, 200]);
  });

  test('who has no token to show makes nobody look for the file', async (t) => {
    const renewedApiToken = () => assert.fail('looked');
    const { url } = await start(t, { apiToken: TOKEN, renewedApiToken });
    assert.equal((await get(url, '/')).status, 401);
  });

  test('a token in the URL is no token', async (t) => {
    const { url } = await start(t, { apiToken: TOKEN });
    assert.equal((await get(url, `/?token=${TOKEN}&access_token=${TOKEN}`)).status, 401);
  });

  test('on loopback, a page of the web whose name points here is refused (DNS rebinding)', async (t) => {
    const { url } = await start(t);
    const port = new URL(url).port;
    for (const host of ['localhost', `localhost:${port}`, `127.0.0.1:${port}`, `[::1]:${port}`, 'LOCALHOST'])
      assert.equal((await get(url, '/', { host })).status, 200, host);
    for (const host of [
      'evil.example',
      `evil.example:${port}`,
      'localhost.evil.example',
      '127.0.0.1.evil.example',
      '[::2]',
    ])
      for (const path of ['/', '/metrics', '/api/incidents'])
        assert.equal((await get(url, path, { host })).status, 421, `${host} ${path}`);
  });

  test('no answer may be read, framed or guessed at by another site', async (t) => {
    const { url } = await start(t);
    for (const path of [...OPEN_TO_ALL, ...PRIVATE]) {
      const { headers } = await get(url, path, { origin: 'http://evil.example' });
      assert.equal(headers['access-control-allow-origin'], undefined);
      assert.equal(headers['x-content-type-options'], 'nosniff');
      assert.match(
        String(headers['content-security-policy']),
        /^default-src 'none'; style-src 'sha256-[\w+/=]+';/,
      );
    }
  });
});

describe('hostile readers', () => {
  async function raw(t: TestContext, url: string, bytes: string): Promise<string> {
    const socket = connect(Number(new URL(url).port), '127.0.0.1');
    t.after(() => socket.destroy());
    socket.end(bytes);
    let answer = '';
    for await (const chunk of socket.setEncoding('utf8')) answer += chunk;
    return answer;
  }

  test('long URLs, long headers and things that are no request get a short refusal', async (t) => {
    const { url } = await start(t);
    assert.equal((await get(url, `/${'x'.repeat(2000)}`)).status, 414);
    assert.equal((await get(url, '/', { cookie: 'x'.repeat(9000) })).status, 431);
    assert.match(await raw(t, url, 'nonsense\r\n\r\n'), /^HTTP\/1.1 400 /);
    assert.match(await raw(t, url, 'GET / HTTP/1.1\r\n\r\n'), /^HTTP\/1.1 400 /);
    assert.match(await raw(t, url, 'GET / HTTP/1.0\r\n\r\n'), /^HTTP\/1.1 421 /);
    assert.match(
      await raw(t, url, 'GET // HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'),
      /^HTTP\/1.1 400 /,
    );
    assert.equal((await get(url, '/healthz')).status, 200);
  });

  test('a reader that leaves in the middle costs nothing', async (t) => {
    const all = Array.from({ length: 300 }, (_, index) =>
      numbered({ ...containerKill(), raw: ['x'.repeat(64 << 10)] }, index),
    );
    const { url } = await start(t, { incidents: sourceOf(all) });
    const socket = connect(Number(new URL(url).port), '127.0.0.1');
    socket.write('GET /api/incidents?limit=300 HTTP/1.1\r\nHost: localhost\r\n\r\n');
    await once(socket, 'data');
    socket.destroy();
    assert.equal((await get(url, '/healthz')).status, 200);
  });

  test('who asks again before he has the answer is cut off: such answers would pile up in memory', async (t) => {
    let asked = 0;
    const scrape = Promise.withResolvers<string>();
    const metrics = {
      contentType: 'text/plain',
      scrape: () => {
        asked++;
        return scrape.promise;
      },
    };
    const { url } = await start(t, { metrics });
    const socket = connect(Number(new URL(url).port), '127.0.0.1');
    t.after(() => socket.destroy());
    socket.on('error', () => {});
    socket.write('GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n'.repeat(1000));
    await once(socket, 'close');
    assert.equal(asked, 1);
    scrape.resolve('');
    assert.equal((await get(url, '/metrics')).status, 200);
  });

  test('one answer after the other on one connection', async (t) => {
    const { url } = await start(t);
    const socket = connect(Number(new URL(url).port), '127.0.0.1').setEncoding('utf8');
    t.after(() => socket.destroy());
    for (let i = 0; i < 3; i++) {
      socket.write('GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n');
      assert.match((await once(socket, 'data'))[0], /^HTTP\/1\.1 200 /);
    }
  });

  test('many connections that say nothing keep nobody out', async (t) => {
    const { url } = await start(t);
    const idle = Array.from({ length: 300 }, () => connect(Number(new URL(url).port), '127.0.0.1'));
    t.after(() => idle.forEach((socket) => void socket.destroy()));
    for (const socket of idle) socket.on('error', () => {});
    await Promise.all(idle.map((socket) => once(socket, 'connect')));
    assert.equal((await get(url, '/healthz')).status, 200);
    assert.ok(idle.filter((socket) => !socket.destroyed).length < 300);
  });
});

describe('the address', () => {
  test('IPv6', async (t) => {
    const { url } = await start(t, { listen: { host: '::1', port: 0 } });
    assert.match(url, /^http:\/\/\[::1\]:\d+\/$/);
    assert.equal((await get(url, '/')).status, 200);
  });

  test('a port in use is one line that names the option and the mend', async (t) => {
    const port = Number(new URL((await start(t)).url).port);
    await assert.rejects(start(t, { listen: { host: '127.0.0.1', port } }), (error) => {
      assert.ok(error instanceof ListenError);
      assert.equal(
        error.message,
        `--listen 127.0.0.1:${port}: the port is in use. Choose another one, or --listen off.`,
      );
      return true;
    });
  });

  test('an address of another machine, too', async (t) => {
    await assert.rejects(start(t, { listen: { host: '192.0.2.1', port: 0 } }), {
      name: 'ListenError',
      message: /^--listen 192\.0\.2\.1:0: this machine has no such address\./,
    });
  });

  test('closing ends idle connections at once', async (t) => {
    const server = await start(t);
    const socket = connect(Number(new URL(server.url).port), '127.0.0.1');
    await once(socket, 'connect');
    socket.write('GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n');
    await once(socket, 'data');
    const ended = once(socket, 'close');
    await server.close();
    await ended;
  });
});
