import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type Page, renderPage } from '../src/page.ts';
import { Html, html } from '../src/server/html.ts';
import { PAGE_STYLE, PAGE_STYLE_HASH } from '../src/server/page-style.ts';
import {
  childKill,
  containerKill,
  delivery,
  FIRST,
  groupKill,
  headerlessKill,
  hostileKills,
  killWithoutCommandLine,
  nodeKill,
  THIRD,
  unitKill,
} from './incidents.ts';

const PAGE: Page = {
  hostName: 'node-7',
  now: Date.parse('2026-11-21T03:18:15.926Z'),
  status: { alive: true, ready: true, parts: [{ name: 'kmsg', works: true }] },
  deliveries: [],
  isFirst: true,
  hasMore: false,
};

function pageOf(...deliveries: Page['deliveries']): string {
  return renderPage({ ...PAGE, deliveries });
}

/** What a person reads, without the markup. */
function textOf(page: string): string {
  return page
    .replace(/<style>[\s\S]*<\/style>/, '')
    .replace(/<[^>]*>/g, ' ')
    .replace(/&#(\d+);/g, (_, code) => String.fromCharCode(code))
    .replace(/\s+/g, ' ');
}

describe('what a person reads', () => {
  test('who died, where, by whose limit, how often, when', () => {
    const text = textOf(pageOf(delivery(containerKill(), THIRD)));
    for (const part of [
      'OOM kill 03:14:15 UTC 4 min ago 3rd time',
      'web/shop',
      'died java, pid 4243',
      "memory 1.98 GiB of the container's limit of 2.00 GiB",
      'before 3rd kill of web/shop in 2 h 10 min',
      'Command line (read when the program was started, 1 min 31 s before)',
      'Kernel lines Memory cgroup out of memory: Killed process 4243 (java)',
    ])
      assert.ok(text.includes(part), `${part}\n${text}`);
  });

  test('the words of a command line are not broken behind their hyphens', () => {
    const page = pageOf(delivery(containerKill()));
    assert.match(page, /<code><span>java<\/span> <span>-Xmx2g<\/span> <span>-XX:\+UseG1GC<\/span> /);
    assert.match(page, /<pre><span>java<\/span> <span>-Xmx2g<\/span> /);
    assert.match(PAGE_STYLE, /code span, pre span \{ display: inline-block;/);
  });

  test('what was killed stands beside its name', () => {
    assert.match(textOf(pageOf(delivery(childKill()))), / 977 convert killed 482 MiB .* 940 php-fpm 20 MiB /);
  });

  test('what is not known is said', () => {
    assert.match(textOf(pageOf(delivery(killWithoutCommandLine()))), /full command line unknown: /);
  });

  test('a group kill lists its victims, a kill of the whole node stands out', () => {
    assert.match(textOf(pageOf(delivery(groupKill()))), /Died together/);
    assert.match(pageOf(delivery(nodeKill())), /<article class="node">/);
  });

  test('every kind of incident has a page', () => {
    for (const incident of [childKill(), headerlessKill(), unitKill()])
      assert.match(pageOf(delivery(incident)), /<article/);
  });

  test('nothing yet is good news; what does not work stands on top', () => {
    assert.match(
      textOf(pageOf()),
      /No kill seen in the last 30 days, or since the agent was first started here/,
    );
    assert.doesNotMatch(
      textOf(pageOf()),
      /nothing on this machine/,
      'the agent does not know what was before it',
    );
    const page = renderPage({
      ...PAGE,
      status: {
        alive: true,
        ready: false,
        parts: [{ name: 'kmsg', works: false, problem: 'denied: <root>', cost: 'kills are not seen' }],
      },
    });
    assert.match(textOf(page), /kmsg : denied: <root> \(kills are not seen\)/);
  });

  test('"older" leads to those before the last one shown', () => {
    const page = renderPage({ ...PAGE, deliveries: [delivery(containerKill(), FIRST)], hasMore: true });
    assert.ok(page.includes(`<a href="/?before=${encodeURIComponent(containerKill().id)}">older</a>`));
  });
});

describe('hostile content', () => {
  const EVIL = '</pre></style><script>alert(1)</script><img src=x onerror=alert(1)>"\'`\u001b[2J\u202e';

  const OURS =
    /^<\/?(?:!doctype|html|head|meta|title|link|style|body|header|h[1-3]|p|b|a|span|small|main|article|time|dl|dt|dd|code|details|summary|pre|div|table|tr|th|td)(?: html| (?:lang|charset|name|content|rel|href|class|datetime)="[^"<>]*")*>$/;

  for (const { what, incident } of hostileKills()) {
    test(`${what}: no markup, no control character`, () => {
      const page = pageOf(delivery(incident));
      for (const element of elementsOf(page)) assert.match(element, OURS);
      assert.doesNotMatch(page, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e]/);
    });
  }

  test('in every text of an incident', () => {
    const evil = JSON.parse(JSON.stringify(containerKill()), (key, value) =>
      typeof value === 'string' && !['time', 'kind', 'scope', 'source', 'limit_owner'].includes(key)
        ? `${value}${EVIL}`
        : value,
    );
    const page = renderPage({ ...PAGE, hostName: EVIL, deliveries: [delivery(evil, THIRD)], hasMore: true });
    for (const element of elementsOf(page)) assert.match(element, OURS);
    assert.doesNotMatch(page, /[\u001b\u202e]/);
  });

  test('the page stays small, whatever the incident has', () => {
    const huge = {
      ...containerKill(),
      raw: Array.from({ length: 500 }, () => 'x'.repeat(8000)),
      tasks: Array.from({ length: 30_000 }, (_, pid) => ({
        pid,
        name: 'x'.repeat(15),
        total_vm: 1,
        rss: pid,
        swap: 0,
        oom_score_adj: 0,
      })),
    };
    assert.ok(pageOf(delivery(huge)).length < 100_000);
  });

  /** Texts are escaped, so whatever still begins with `<` is an element. */
  function elementsOf(page: string): string[] {
    return page.match(/<[^>]*>?/g) ?? [];
  }
});

describe('the template', () => {
  test('escapes texts, keeps Html, joins lists, leaves out undefined', () => {
    const inner = html`<b>${'<&>'}</b>`;
    assert.ok(inner instanceof Html);
    assert.equal(
      html`${inner} ${[inner, 'a"b', 1]} ${undefined}.`.source,
      '<b>&#60;&#38;&#62;</b> <b>&#60;&#38;&#62;</b>a&#34;b1 .',
    );
  });

  test('the style hash is that of the style in the page', async () => {
    const style = /<style>([\s\S]*)<\/style>/.exec(pageOf())![1]!;
    const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(style));
    assert.equal(PAGE_STYLE_HASH, `sha256-${Buffer.from(digest).toString('base64')}`);
  });
});
