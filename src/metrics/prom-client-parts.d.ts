/**
 * The parts of prom-client that are used, by their own files: its index brings summaries, the push gateway and the cluster
 * module with it, 1.2 MB of anonymous memory in the bundle (2.7 MB in the checkout) instead of 0.35 MB.
 */
declare module 'prom-client/lib/registry.js' {
  import { Registry } from 'prom-client';
  export = Registry;
}
declare module 'prom-client/lib/counter.js' {
  import { Counter } from 'prom-client';
  export = Counter;
}
declare module 'prom-client/lib/gauge.js' {
  import { Gauge } from 'prom-client';
  export = Gauge;
}
declare module 'prom-client/lib/histogram.js' {
  import { Histogram } from 'prom-client';
  export = Histogram;
}
