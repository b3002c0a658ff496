// Tables of fly.toml that a proxy has no use for: looked through for misspelt keys and impossible
// values, not kept.
#include "config/app_reader.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace rooster::config {
namespace {

void look_through(TableReader& top, std::string_view key,
                  std::initializer_list<std::string_view> known) {
  const auto tables = top.tables(key);
  for (std::size_t i = 0; i < tables.size(); ++i) {
    TableReader reader(*tables[i], tables.size() > 1 ? top.item_path(key, i) : top.path(key),
                       top.report());
    reader.accept(known);
    reader.finish();
  }
}

void read_mounts(TableReader& top) {
  // Fly takes [mount] for [mounts] too.
  for (const std::string_view key : {"mounts", "mount"}) {
    std::size_t index = 0;
    for (const Node* const table : top.tables(key)) {
      TableReader reader(*table, top.item_path(key, index++), top.report());
      std::string source;
      std::string destination;
      std::vector<std::string> processes;
      reader.read("source", source);
      reader.read("destination", destination);
      reader.read_texts("processes", processes);
      reader.accept({"initial_size", "snapshot_retention", "auto_extend_size_threshold",
                     "auto_extend_size_increment", "auto_extend_size_limit",
                     "scheduled_snapshots"});
      reader.finish();
    }
  }
}

void read_metrics(TableReader& top) {
  std::size_t index = 0;
  for (const Node* const table : top.tables("metrics")) {
    TableReader reader(*table, top.item_path("metrics", index++), top.report());
    std::uint16_t port = 0;
    std::string path;
    bool https = false;
    reader.read_number("port", port, 1, 65535, true);
    reader.read("path", path);
    reader.read("https", https);
    reader.accept({"processes"});
    reader.finish();
  }
}

void read_deploy(TableReader& top) {
  const Node* const table = top.table("deploy");
  if (table == nullptr) return;
  TableReader reader(*table, "deploy", top.report());
  std::string strategy;
  reader.read("strategy", strategy);
  static constexpr std::array<std::string_view, 6> kStrategies{"",       "rolling",   "immediate",
                                                               "canary", "bluegreen", "simple"};
  if (std::ranges::find(kStrategies, strategy) == kStrategies.end()) {
    reader.report().error(
        reader.find("strategy")->value.place, reader.path("strategy"),
        fmt::format("\"{}\" is no strategy; write \"rolling\", \"immediate\", \"canary\" "
                    "or \"bluegreen\"",
                    strategy));
  }
  reader.accept({"release_command", "release_command_timeout", "release_command_compute",
                 "release_command_vm", "seed_command", "wait_timeout", "max_unavailable"});
  reader.finish();
}

}  // namespace

void read_platform_tables(TableReader& top) {
  read_mounts(top);
  read_metrics(top);
  read_deploy(top);
  for (const std::string_view key : {"vm", "compute"}) {
    look_through(
        top, key,
        {"size", "memory", "memory_mb", "cpus", "cpu_kind", "gpus", "gpu_kind", "processes",
         "host_dedication_id", "kernel_args", "persist_rootfs", "swap_size_mb"});
  }
  look_through(top, "experimental",
               {"cmd", "entrypoint", "exec", "auto_rollback", "enable_consul", "enable_etcd",
                "private_network", "allowed_public_ports", "kill_timeout", "kill_signal",
                "metrics_port", "metrics_path", "lazy_load_images", "attached", "machine_config",
                "use_zstd", "container", "uses_gpu"});
  look_through(top, "files",
               {"guest_path", "local_path", "secret_name", "raw_value", "processes", "mode"});
  look_through(top, "restart", {"policy", "retries", "processes"});
  top.accept({"console_command", "swap_size_mb", "host_dedication_id", "machine_checks", "runtime",
              "consul", "secrets"});
}

}  // namespace rooster::config
