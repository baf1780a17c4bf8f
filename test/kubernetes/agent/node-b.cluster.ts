/** Real kills on a node of cgroup v2 with systemd, where kubelet asks for group kills, and of the whole node. */
import { describe } from 'node:test';
import { runningCluster, withoutNodeB } from '../cluster-test.ts';
import { countedKills } from './counted-kills.ts';
import { nodeB } from './kill-node.ts';
import {
  childAlone,
  childWithItsParent,
  deletedPod,
  firstProcess,
  guaranteedPod,
  initContainer,
  killScenarios,
  type Scenario,
  staticPod,
  wholeNode,
} from './kill-scenarios.ts';

const cluster = runningCluster();

describe('kills on a node of cgroup v2', { skip: withoutNodeB(cluster) }, () =>
  killScenarios(cluster, nodeB(cluster), [
    firstProcess,
    childWithItsParent,
    guaranteedPod,
    initContainer,
    staticPod,
    deletedPod,
    countedKills,
    withoutGroupKills(childAlone),
    wholeNode,
  ]),
);

/** Where kubelet is told to have the kernel kill one process only, as it always does on cgroup v1. */
function withoutGroupKills({ title, run }: Scenario): Scenario {
  return {
    title: `singleProcessOOMKill: ${title}`,
    async run(place) {
      place.t.after(() => cluster.configureNodeB({}));
      await cluster.configureNodeB({ singleProcessOOMKill: true });
      await run({ ...place, node: { ...place.node, groupKills: false } });
    },
  };
}
