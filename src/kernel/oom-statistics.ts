/** The memory statistics in the report of an OOM kill: of a cgroup (v1 and v2) or of the whole node. */

import type { Numbers, Observation } from './observation.ts';
import { boundedPath, integer, kiB } from './oom-numbers.ts';

const MOST_STATISTICS = 256;

/** PAGE_COUNTER_MAX of 32-bit kernels in kB; that of 64-bit ones is too large to be exact anyway. */
const UNLIMITED_32_KB = 8_589_934_588;

const USAGE = /^(memory|swap|memory\+swap|kmem): usage (\d+)kB, limit (\d+)kB, failcnt (\d+)$/;
const CGROUP_STATISTICS = /^Memory cgroup stats for (.*?): ?((?:[a-z_]+:\d+KB ?)*)$/s;
const STATISTIC = /^[a-z][a-z0-9_]{0,60} \d+(?:\n|$)/;
const NODE_PAGES = /^(?:\s*[a-z_-]+:\d+)+\s*$/;
const NODE_COUNT =
  /^(\d+) ((?:total )?pagecache pages|pages in swap cache|pages (?:of )?RAM|pages reserved|reserved pages)$/;
/** The free memory of a zone by the size of its pieces, the smallest of which is a page; without NUMA no node is named. */
const FREE_LISTS = /^(?:Node \d+ )?(?:DMA|DMA32|Normal): \d+\*(\d{1,3})kB /;
const NODE_SWAP = /^(Free|Total) swap += (\d+)kB$/;

/** A line that begins with a digit, a space or a small letter. */
export function numbers(text: string): Observation | undefined {
  const first = text.charCodeAt(0);
  if (first >= 0x30 && first <= 0x39) return text.includes(' pages') ? nodeNumber(text) : undefined;
  if (first !== 0x20 && !(first >= 0x61 && first <= 0x7a)) return undefined;
  // No line is two of them; the statistics are most of a report.
  return statistics(text) ?? usageOf(text) ?? nodePages(text);
}

function usageOf(text: string): Observation | undefined {
  const found = USAGE.exec(text);
  if (!found) return undefined;
  const usage = kiB(found[2]);
  const limit = kiB(found[3]);
  const failcnt = integer(found[4]);
  return {
    kind: 'usage',
    of: found[1] as 'memory',
    ...(usage !== undefined && { usage }),
    ...(limit !== undefined && Number(found[3]) !== UNLIMITED_32_KB && { limit }),
    ...(failcnt !== undefined && { failcnt }),
  };
}

export function cgroupStatistics(text: string): Observation | undefined {
  const found = CGROUP_STATISTICS.exec(text);
  if (!found) return undefined;
  const values = pairs(found[2] as string, /([a-z_]+):(\d+)KB/g, kiB);
  return { kind: 'cgroup-statistics', cgroup: boundedPath(found[1]), values };
}

/** Names that count events or pages moved, not bytes held. */
const COUNTER = /^(?:total_)?(?:pg|workingset_|thp_(?:fault|collapse|swpout)|p?swp|zswp(?:in|out|wb)|numa_)/;

export function statistics(text: string): Observation | undefined {
  if (!STATISTIC.test(text)) return undefined;
  const values: [string, number][] = [];
  for (const line of text.includes('\n') ? text.split('\n', MOST_STATISTICS) : [text]) {
    if (COUNTER.test(line)) continue;
    const space = line.indexOf(' ');
    const value = integer(line.slice(space + 1));
    const name = line.slice(0, Math.max(space, 0));
    if (value !== undefined && value >= 0 && /^[a-z]\w*$/.test(name)) values.push([name, value]);
  }
  return { kind: 'statistics', values };
}

export function nodePages(text: string): Observation | undefined {
  if (!NODE_PAGES.test(text)) return undefined;
  return { kind: 'node-pages', values: pairs(text, /([a-z_-]+):(\d+)/g, integer) };
}

export function freeLists(text: string): Observation | undefined {
  const bytes = kiB(FREE_LISTS.exec(text)?.[1]);
  return bytes ? { kind: 'page-size', bytes } : undefined;
}

/** @param pattern finds a name and its value */
function pairs(text: string, pattern: RegExp, parse: (value: string) => number | undefined): Numbers {
  const values = new Map<string, number>();
  for (const [, name = '', digits] of text.matchAll(pattern)) {
    const value = parse(digits as string);
    if (value !== undefined) values.set(name, value);
  }
  return [...values];
}

const NODE_NAMES: Readonly<Record<string, string>> = {
  'total pagecache pages': 'pagecache',
  'pages in swap cache': 'swap_cache',
  'pages RAM': 'ram',
  'pages reserved': 'reserved',
  // Before 2.6.28.
  'pagecache pages': 'pagecache',
  'pages of RAM': 'ram',
  'reserved pages': 'reserved',
};

export function nodeNumber(text: string): Observation | undefined {
  const count = NODE_COUNT.exec(text);
  const pages = integer(count?.[1]);
  if (count && pages !== undefined)
    return { kind: 'node-pages', values: [[NODE_NAMES[count[2] as string] as string, pages]] };
  const swap = NODE_SWAP.exec(text);
  const bytes = kiB(swap?.[2]);
  if (!swap || bytes === undefined) return undefined;
  return { kind: 'node-bytes', values: [[swap[1] === 'Free' ? 'free_swap' : 'total_swap', bytes]] };
}
