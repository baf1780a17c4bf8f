import Counter from 'prom-client/lib/counter.js';
import Gauge from 'prom-client/lib/gauge.js';
import Registry from 'prom-client/lib/registry.js';
import type { KnownContainer } from '../inventory/container-table.ts';
import type { FamilySources, MetricFamily } from './family.ts';

/** In the order in which the program's page has them. */
const LABELS = [
  'container_id',
  'container_short_id',
  'docker_container_id',
  'image_id',
  'name',
  'namespace',
  'pod',
] as const;

type Sources = Pick<FamilySources, 'containers' | 'isReplacement'>;
type Labels = Readonly<Record<(typeof LABELS)[number], string>>;

const SHORT_ID = 12;
/** Containers that are gone and whose last values nobody has read. */
const MOST_UNREAD = 1024;

/**
 * The metrics of missing-container-metrics, with its names, types and labels. Series exist as soon as a container is known and until
 * it has been gone for five minutes, but at least until one scrape has read their last values.
 *
 * - `container_ooms`: processes that the kernel killed in the container. Where the kernel's word does not arrive, the runtime's
 *   events, which on cgroup v1 are more (20 for 5, measured).
 * - `container_restarts`: starts that were seen of a container that had run before. As a replacement the first start of a
 *   container of Docker counts, too, as it did there. With containerd it counted none at all.
 * - `container_last_exit_code`: of the first process of the container, 0 before any has ended.
 */
export function openFamily(sources: Sources): MetricFamily {
  return new MissingContainerMetrics(sources);
}

class MissingContainerMetrics implements MetricFamily {
  readonly #sources: Sources;
  readonly #registry = new Registry();
  readonly #restarts: Counter<string>;
  readonly #ooms: Counter<string>;
  readonly #exitCode: Gauge<string>;
  /** Id of a container that is gone -> the kills that the last scrape read. */
  readonly #read = new Map<string, number>();
  readonly #unread = new Map<string, KnownContainer>();
  readonly #stopListening: () => void;

  constructor(sources: Sources) {
    this.#sources = sources;
    const common = { labelNames: [...LABELS], registers: [this.#registry] };
    this.#restarts = new Counter({
      ...common,
      name: 'container_restarts',
      help: 'Number of restarts of a docker container',
    });
    this.#ooms = new Counter({
      ...common,
      name: 'container_ooms',
      help: 'Number of OOM kills of a docker container',
    });
    this.#exitCode = new Gauge({
      ...common,
      name: 'container_last_exit_code',
      help: 'Last exit code of the container',
    });
    this.#stopListening = sources.containers.listen((type, container) => {
      if (type === 'forgotten') this.#forgotten(container);
    });
  }

  async scrape(): Promise<string> {
    for (const metric of [this.#restarts, this.#ooms, this.#exitCode]) metric.reset();
    let count = 0;
    for (const container of this.#sources.containers.values()) {
      this.#show(container);
      count += 1;
      if (container.goneAt === undefined) this.#read.delete(container.id);
      else this.#read.set(container.id, container.oomKills);
    }
    for (const container of this.#unread.values()) this.#show(container);
    count += this.#unread.size;
    this.#unread.clear();
    // The program's page says nothing of a metric without series.
    return count === 0 ? '' : this.#registry.metrics();
  }

  close(): void {
    this.#stopListening();
  }

  #show(container: KnownContainer): void {
    const labels = labelsOf(container);
    const { runtime, starts, restarts, oomKills, exitCode } = container;
    this.#restarts.inc(labels, this.#sources.isReplacement && runtime === 'docker' ? starts : restarts);
    this.#ooms.inc(labels, oomKills);
    this.#exitCode.set(labels, exitCode ?? 0);
  }

  #forgotten(container: KnownContainer): void {
    const isRead = this.#read.get(container.id) === container.oomKills;
    this.#read.delete(container.id);
    if (isRead) return;
    this.#unread.set(container.id, { ...container });
    if (this.#unread.size > MOST_UNREAD) this.#unread.delete(this.#unread.keys().next().value!);
  }
}

function labelsOf({ id, runtime, name = '', namespace = '', podName = '', ...rest }: KnownContainer): Labels {
  const isDocker = runtime === 'docker';
  const image = rest.image?.name ?? '';
  return {
    container_id: `${runtime}://${id}`,
    container_short_id: id.slice(0, SHORT_ID),
    docker_container_id: isDocker ? id : 'not-a-docker-container',
    image_id: isDocker ? `docker-pullable://${image}` : image,
    name: isDocker ? name : (rest.containerName ?? name),
    namespace,
    pod: podName,
  };
}
