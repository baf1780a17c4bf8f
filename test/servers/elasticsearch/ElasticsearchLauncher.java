import java.lang.reflect.Method;
import java.nio.file.Path;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.function.Supplier;

/**
 * Starts one Elasticsearch node from its published jars, which come without the distribution's own launcher.
 *
 * <p>Usage: ElasticsearchLauncher HOME KEY=VALUE... where every folder in HOME/modules is a module. Prints
 * ELASTICSEARCH_STARTED when it serves. Everything goes through reflection: Java 17 compiles this, and the classes of
 * Elasticsearch 9 are newer than it can read.
 */
public final class ElasticsearchLauncher {
  private static final String NODE_NAME = "test-node";

  public static void main(String[] args) throws Exception {
    Path home = Path.of(args[0]).toAbsolutePath();
    System.setProperty("es.path.home", home.toString());
    Object settings = settings(home, args);
    configureLogging(settings);
    Object loader = pluginsLoader(home.resolve("modules"));
    Class<?> nodeClass = type("node.Node");
    Object node =
        nodeClass
            .getConstructor(type("env.Environment"), type("plugins.PluginsLoader"))
            .newInstance(environment(settings, home), loader);
    Runtime.getRuntime().addShutdownHook(new Thread(() -> close(nodeClass, node)));
    nodeClass.getMethod("start").invoke(node);
    System.out.println("ELASTICSEARCH_STARTED");
    new CountDownLatch(1).await();
  }

  private static Object settings(Path home, String[] args) throws Exception {
    Object builder = type("common.settings.Settings").getMethod("builder").invoke(null);
    Method put = builder.getClass().getMethod("put", String.class, String.class);
    put.invoke(builder, "path.home", home.toString());
    for (int i = 1; i < args.length; i++) {
      String[] pair = args[i].split("=", 2);
      put.invoke(builder, pair[0], pair[1]);
    }
    return builder.getClass().getMethod("build").invoke(builder);
  }

  private static void configureLogging(Object settings) throws Exception {
    Class<?> logging = type("common.logging.LogConfigurator");
    logging.getMethod("setNodeName", String.class).invoke(null, NODE_NAME);
    logging.getMethod("configureESLogging").invoke(null);
    logging.getMethod("configureWithoutConfig", type("common.settings.Settings")).invoke(null, settings);
  }

  private static Object environment(Object settings, Path home) throws Exception {
    Supplier<String> nodeName = () -> NODE_NAME;
    return method(type("node.InternalSettingsPreparer"), "prepareEnvironment", 4)
        .invoke(null, settings, Map.of(), home.resolve("config"), nodeName);
  }

  /** Plain class loaders instead of module layers: the server itself is on the class path. */
  private static Object pluginsLoader(Path modules) throws Exception {
    Class<?> loader = type("plugins.PluginsLoader");
    Method bundles = method(loader, "loadModulesBundles", -1);
    Object found =
        bundles.getParameterCount() == 1 ? bundles.invoke(null, modules) : bundles.invoke(null, modules, false);
    return loader
        .getMethod("createPluginsLoader", Set.class, Set.class, Map.class, boolean.class)
        .invoke(null, found, Set.of(), Map.of(), false);
  }

  private static void close(Class<?> nodeClass, Object node) {
    try {
      nodeClass.getMethod("close").invoke(node);
    } catch (ReflectiveOperationException failure) {
      failure.printStackTrace();
    }
  }

  private static Class<?> type(String name) throws ClassNotFoundException {
    return Class.forName("org.elasticsearch." + name);
  }

  /** The method of that name; -1 stands for any number of parameters. */
  private static Method method(Class<?> owner, String name, int parameters) throws NoSuchMethodException {
    for (Method method : owner.getMethods())
      if (method.getName().equals(name) && (parameters < 0 || method.getParameterCount() == parameters))
        return method;
    throw new NoSuchMethodException(owner.getName() + "." + name);
  }
}
