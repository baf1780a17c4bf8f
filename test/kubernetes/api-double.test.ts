import { describeApiContract } from './api-contract.ts';
import { ApiDouble } from './api-double.ts';

describeApiContract('ApiDouble', async (t) => {
  const double = await ApiDouble.start(t);
  return {
    kubeconfig: double.kubeconfig(),
    namespace: 'contract',
    async forget() {
      double.store.compact();
      double.cutConnections();
    },
    async token() {
      return 'first-token';
    },
  };
});
