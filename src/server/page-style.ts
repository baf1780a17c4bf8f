/** Everything inline and nothing from elsewhere: it must work when nothing else does. Light and dark, from 320 pixels. */
export const PAGE_STYLE = `
:root { color-scheme: light dark; --ink: #1a1a1a; --soft: #5f6368; --paper: #f4f4f2; --card: #fff; --line: #dcdcd8;
  --cgroup: #d9730d; --node: #c4221c; --warning: #b58900; --again: #fdebd8; --again-ink: #8a3f00; --bad: #fde2e0; --bad-ink: #8c1510; }
@media (prefers-color-scheme: dark) { :root { --ink: #ececec; --soft: #a2a6aa; --paper: #17181a; --card: #212326;
  --line: #3a3d41; --cgroup: #ff9a3c; --node: #ff6b62; --warning: #e0b83a; --again: #4a2f14; --again-ink: #ffc48a;
  --bad: #4c1d1a; --bad-ink: #ffb3ad; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 60rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.45 system-ui, sans-serif; overflow-wrap: anywhere; }
header { display: flex; flex-wrap: wrap; gap: .25rem 1rem; align-items: baseline; margin-bottom: 1rem; }
h1 { font-size: 1.15rem; margin: 0; flex: 1 1 auto; }
h2 { font-size: 1.2rem; line-height: 1.3; margin: .1rem 0 .5rem; }
h2 small { font-size: .9rem; font-weight: normal; color: var(--soft); }
h3 { font-size: .85rem; margin: 1.1rem 0 .3rem; color: var(--soft); }
a { color: inherit; }
.soft, header span { color: var(--soft); font-size: .9rem; }
.problem { background: var(--bad); color: var(--bad-ink); border-radius: .4rem; padding: .5rem .75rem; margin: 0 0 .75rem; }
.problem b { display: inline-block; } .problem b::first-letter { text-transform: uppercase; }
article { background: var(--card); border: 1px solid var(--line); border-left: .35rem solid var(--cgroup);
  border-radius: .4rem; padding: .7rem .9rem; margin: 0 0 .75rem; }
article.node { border-left-color: var(--node); }
article.warning { border-left-color: var(--warning); }
.top { display: flex; flex-wrap: wrap; gap: .1rem .75rem; align-items: baseline; color: var(--soft); font-size: .9rem; margin: 0; }
.top b { color: var(--cgroup); text-transform: uppercase; letter-spacing: .03em; font-size: .8rem; }
.node .top b { color: var(--node); } .warning .top b { color: var(--warning); }
.top time { color: var(--ink); font-variant-numeric: tabular-nums; }
.again { background: var(--again); color: var(--again-ink); border-radius: 1rem; padding: 0 .6rem; margin-left: auto; font-weight: 600; }
dl { display: grid; grid-template-columns: minmax(4.8rem, max-content) 1fr; gap: .15rem .6rem; margin: 0; }
dt { color: var(--soft); } dd { margin: 0; }
code, pre, td, th { font: .85rem/1.5 ui-monospace, monospace; }
code span, pre span { display: inline-block; max-width: 100%; word-break: break-all; }
pre { margin: 0; padding: .6rem; background: var(--paper); border-radius: .3rem; white-space: pre-wrap; max-height: 24rem; overflow: auto; }
details { margin-top: .5rem; } summary { cursor: pointer; color: var(--soft); font-size: .9rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; }
td, th { padding: .1rem .9rem .1rem 0; text-align: right; white-space: nowrap; font-weight: normal; }
th { color: var(--soft); } td:first-child, th:first-child, td.text, th.text { text-align: left; }
.stats { columns: 13rem; column-gap: 2rem; grid-template-columns: none; display: block; font: .85rem/1.5 ui-monospace, monospace; }
.stats div { display: flex; justify-content: space-between; break-inside: avoid; }
@media (max-width: 30rem) { body { padding: .5rem; font-size: .95rem; } article { padding: .6rem; } .top { column-gap: .45rem; font-size: .8rem; }
  header { font-size: .85rem; gap: .25rem .5rem; } dl { grid-template-columns: max-content 1fr; } dt { font-size: .85rem; line-height: 1.6; } code { font-size: .78rem; } }
`;

/**
 * For the Content-Security-Policy: this style, and no other, is allowed. Written down because to compute it costs 1.4 MB,
 * node:crypto; a test compares it.
 */
export const PAGE_STYLE_HASH = 'sha256-/E9JLXMnle9LgBnu+ivNEBjvxIpPir3YTszNbMKa+8Q=';
