// Which counter appears on the metrics page under which name: Fly's where Fly has one, else
// rooster_*.
#pragma once

#include "core/metrics.hpp"
#include "core/metrics_page.hpp"

#include <functional>
#include <string_view>

namespace rooster {

/// The name of an app, "" where it is gone (its series are then left out).
using AppNameOf = std::function<std::string_view(AppId)>;

/// Writes all families of `metrics`. Background thread. Only apps seen in the last hour have
/// series.
void write_metrics(MetricsPage& page, const Metrics& metrics, std::string_view region,
                   MetricSeconds now, const AppNameOf& app_name);

}  // namespace rooster
