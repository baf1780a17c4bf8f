/**
 * What Grafana reads of our dashboard, from its own types: options of each kind of panel, and nothing that it would overlook.
 * Its files hold the values of its enumerations, not their names.
 */
import type { Dashboard, DataQuery, FieldConfig, FieldConfigSource, Panel, RowPanel } from '@grafana/schema';
import type { Options as StatOptions } from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type {
  FieldConfig as StateTimelineFields,
  Options as StateTimelineOptions,
} from '@grafana/schema/dist/esm/raw/composable/statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen';
import type {
  FieldConfig as TableFields,
  Options as TableOptions,
} from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import type {
  FieldConfig as TimeSeriesFields,
  Options as TimeSeriesOptions,
} from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

type InFile<T> = T extends string ? `${T}` : T extends object ? { [Key in keyof T]: InFile<T[Key]> } : T;

/** Of the data source for Prometheus, which is no part of the package. */
interface PrometheusQuery extends DataQuery {
  expr: string;
  format?: 'table' | 'time_series' | 'heatmap';
  instant?: boolean;
  range?: boolean;
  /** The shortest step, which it takes for the scrape interval. */
  interval?: string;
  legendFormat?: string;
}

interface Fields<Custom> extends Omit<FieldConfigSource, 'defaults'> {
  defaults: Omit<FieldConfig, 'custom'> & { custom?: Custom };
}

interface PanelOf<Type extends string, Options, Custom>
  extends Omit<Panel, 'type' | 'options' | 'fieldConfig' | 'targets'> {
  type: Type;
  options: Options;
  fieldConfig: Fields<Custom>;
  targets: PrometheusQuery[];
}

type AnyPanel =
  | PanelOf<'stat', StatOptions, never>
  | PanelOf<'state-timeline', StateTimelineOptions, StateTimelineFields>
  | PanelOf<'table', TableOptions, TableFields>
  | PanelOf<'timeseries', TimeSeriesOptions, TimeSeriesFields>
  | RowPanel;

export type DashboardFile = InFile<Omit<Dashboard, 'panels'> & { panels: AnyPanel[] }>;
