import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'node:test';
import { type ContainerRuntime, containerIdentity } from '../../src/inventory/container-identity.ts';
import { ContainerTable, KEPT_MS } from '../../src/inventory/container-table.ts';
import type { MetricFamily } from '../../src/metrics/family.ts';
import { openFamily } from '../../src/metrics/missing-container-metrics.ts';

const ID = `4bf1${'0'.repeat(60)}`;

describe('the metrics of missing-container-metrics', () => {
  let now: number;
  let table: ContainerTable;
  let family: MetricFamily;

  beforeEach(() => {
    now = 1_000_000;
    table = new ContainerTable({ now: () => now, kernelSees: () => true, most: 8 });
    family = openFamily({
      containers: table,
      isReplacement: false,
    });
  });

  function know(
    id: string,
    runtime: ContainerRuntime,
    name: string,
    labels: Record<string, string> = {},
  ): void {
    const identity = containerIdentity({ id, runtime, name, imageName: 'redis:7', labels });
    table.identify(runtime === 'docker' ? 'docker' : 'containerd', identity!);
  }

  async function value(metric: string, id = ID, of = family): Promise<number | undefined> {
    const lines = (await of.scrape()).split('\n');
    const line = lines.find((each) => each.startsWith(`${metric}{`) && each.includes(`://${id}"`));
    return line === undefined ? undefined : Number(line.split(' ').at(-1));
  }

  it('has nothing at all to say where there is no container', async () => {
    assert.equal(await family.scrape(), '');
  });

  it('has every series as soon as a container of Docker is known, as the program writes it', async () => {
    know(ID, 'docker', 'shop');
    const labels = `{container_id="docker://${ID}",container_short_id="4bf100000000",docker_container_id="${ID}",image_id="docker-pullable://redis:7",name="shop",namespace="",pod=""}`;
    assert.equal(
      await family.scrape(),
      `# HELP container_restarts Number of restarts of a docker container
# TYPE container_restarts counter
container_restarts${labels} 0

# HELP container_ooms Number of OOM kills of a docker container
# TYPE container_ooms counter
container_ooms${labels} 0

# HELP container_last_exit_code Last exit code of the container
# TYPE container_last_exit_code gauge
container_last_exit_code${labels} 0
`,
    );
  });

  it('names pods of containerd, and survives an id of three letters', async () => {
    know('web', 'containerd', '', {
      'io.kubernetes.pod.namespace': 'prod',
      'io.kubernetes.pod.name': 'shop-1',
      'io.kubernetes.container.name': 'cart',
    });
    const labels =
      '{container_id="containerd://web",container_short_id="web",docker_container_id="not-a-docker-container",image_id="redis:7",name="cart",namespace="prod",pod="shop-1"}';
    assert.ok((await family.scrape()).includes(`\ncontainer_ooms${labels} 0\n`));
  });

  it('cannot be made to write other lines by a name', async () => {
    know(ID, 'docker', 'a"b\\c\n# HELP evil\nevil 1');
    const text = await family.scrape();
    assert.ok(text.includes('name="a\\"b\\\\c\\n# HELP evil\\nevil 1"'), text);
    assert.equal(text.split('\n').filter((line) => line.startsWith('evil')).length, 0);
  });

  it('counts kills by the kernel, exit codes, and starts of what had run before', async () => {
    know(ID, 'docker', 'shop');
    table.started(ID, 1);
    for (let event = 0; event < 20; event++) table.oom(ID);
    table.killed(ID, 5);
    table.died(ID, 137, 2);
    table.started(ID, 3);
    assert.equal(await value('container_ooms'), 5);
    assert.equal(await value('container_last_exit_code'), 137);
    assert.equal(await value('container_restarts'), 1);
  });

  it('counts the first start, too, where it replaces the program, but of Docker only, as that does', async () => {
    const replacement = openFamily({
      containers: table,
      isReplacement: true,
    });
    know(ID, 'docker', 'shop');
    table.started(ID, 1);
    assert.equal(await value('container_restarts', ID, replacement), 1);
    know('web', 'containerd', '');
    table.started('web', 1);
    assert.equal(await value('container_restarts', 'web', replacement), 0);
    table.died('web', 1, 2);
    table.started('web', 100);
    assert.equal(await value('container_restarts', 'web', replacement), 1);
  });

  it('shows what is gone for five minutes, and for one scrape that reads its last values', async () => {
    know(ID, 'docker', 'shop');
    table.killed(ID, 1);
    table.gone(ID, now);
    assert.equal(await value('container_ooms'), 1);
    now += KEPT_MS;
    assert.equal(await value('container_ooms'), undefined);
    assert.equal(await family.scrape(), '');
  });

  it('shows values that nobody read once more, however late', async () => {
    know(ID, 'docker', 'shop');
    assert.equal(await value('container_ooms'), 0);
    table.gone(ID, now);
    assert.equal(await value('container_ooms'), 0);
    table.killed(ID, 1);
    now += 10 * KEPT_MS;
    assert.equal(table.get(ID), undefined);
    assert.equal(await value('container_ooms'), 1);
    assert.equal(await value('container_ooms'), undefined);
  });

  it('keeps a bounded number of those', async () => {
    for (let index = 0; index < 2000; index++) know(`c${index}`, 'docker', 'job');
    const lines = (await family.scrape()).split('\n').filter((line) => line.startsWith('container_ooms{'));
    assert.equal(lines.length, 1024 + 8);
    assert.ok(lines.some((line) => line.includes('docker://c1991"')));
    assert.ok(!lines.some((line) => line.includes('docker://c0"')));
  });

  it('is as one again where an id is used again', async () => {
    know('job', 'containerd', 'job');
    table.killed('job', 1);
    table.gone('job', now);
    assert.equal(await value('container_ooms', 'job'), 1);
    now += 1;
    know('job', 'containerd', 'job');
    now += 2 * KEPT_MS;
    table.killed('job', 1);
    assert.equal(await value('container_ooms', 'job'), 2);
  });
});
