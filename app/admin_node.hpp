// AdminNode: what the admin API sees of this node. Lives on the background thread; asks control
// where only control knows.
#pragma once

#include "admin/log_tail.hpp"
#include "admin/node.hpp"
#include "admin/output_files.hpp"
#include "app/gateway_counts.hpp"
#include "core/ask.hpp"
#include "core/metrics.hpp"

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace rooster::app {

class Control;

class AdminNode final : public admin::Node {
 public:
  struct Parts {
    Loop& background;
    Loop& control_loop;
    Control& control;
    Metrics& metrics;
    admin::OutputFiles& output_files;
    std::function<void(Answer<admin::ConfigReport>)> reload;  ///< on control's thread
  };
  explicit AdminNode(Parts parts);

  Task<admin::NodeStatus> status(Waiter& waiter) override;
  Task<std::vector<admin::AppFacts>> apps(Waiter& waiter, std::string after,
                                          std::size_t most) override;
  Task<admin::AppFacts> app(Waiter& waiter, std::string name) override;
  Task<> command(Waiter& waiter, admin::MachineCommand command) override;
  Task<admin::ConfigReport> reload(Waiter& waiter) override;
  Task<admin::ConfigReport> check(Waiter& waiter, bool strict) override;
  std::vector<admin::LogLine> logs(const admin::LogQuery& query) override;
  std::shared_ptr<const config::ConfigSet> config() override { return config_; }
  std::vector<std::string> metrics() override;

  // Background thread.
  admin::LogTail& tail() { return tail_; }
  void adopt(std::shared_ptr<const config::ConfigSet> config) { config_ = std::move(config); }
  void name_app(AppId app, std::string name);
  void adopt(const GatewayCounts& counts) { gateway_counts_ = counts; }

 private:
  Parts parts_;
  admin::LogTail tail_;
  std::set<std::string> read_back_;  // apps whose files were looked into
  std::shared_ptr<const config::ConfigSet> config_;
  std::vector<std::string> names_;  // by AppId
  std::optional<GatewayCounts> gateway_counts_;
};

}  // namespace rooster::app
