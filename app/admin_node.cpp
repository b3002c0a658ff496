#include "app/admin_node.hpp"

#include "app/control.hpp"
#include "core/metrics_page.hpp"
#include "core/write_metrics.hpp"

namespace rooster::app {

namespace {

constexpr std::size_t kReadBackLines = 200;  // of an app that has said nothing in this run
constexpr auto kPatience = std::chrono::seconds(10);
constexpr auto kReloadPatience = std::chrono::minutes(5);  // 100 000 files on a slow disk

}  // namespace

AdminNode::AdminNode(Parts parts) : parts_(std::move(parts)) {
  tail_.set_on_line([this](const admin::LogLine& line) { parts_.output_files.add(line); });
}

Task<admin::NodeStatus> AdminNode::status(Waiter& waiter) {
  co_return co_await ask<admin::NodeStatus>(
      waiter, parts_.control_loop, waiter.loop().now() + kPatience,
      [&control = parts_.control](Answer<admin::NodeStatus> answer) { answer(control.status()); });
}

Task<std::vector<admin::AppFacts>> AdminNode::apps(Waiter& waiter, std::string after,
                                                   std::size_t most) {
  using Facts = std::vector<admin::AppFacts>;
  co_return co_await ask<Facts>(
      waiter, parts_.control_loop, waiter.loop().now() + kPatience,
      [&control = parts_.control, after = std::move(after), most](Answer<Facts> answer) {
        answer(control.facts_after(after, most));
      });
}

Task<admin::AppFacts> AdminNode::app(Waiter& waiter, std::string name) {
  co_return co_await ask<admin::AppFacts>(
      waiter, parts_.control_loop, waiter.loop().now() + kPatience,
      [&control = parts_.control, name = std::move(name)](Answer<admin::AppFacts> answer) {
        answer(control.facts_of(name));
      });
}

Task<> AdminNode::command(Waiter& waiter, admin::MachineCommand command) {
  co_return co_await ask<void>(waiter, parts_.control_loop, waiter.loop().now() + kPatience,
                               [&control = parts_.control, command = std::move(command)](
                                   Answer<void> answer) { answer(control.order(command)); });
}

Task<admin::ConfigReport> AdminNode::reload(Waiter& waiter) {
  co_return co_await ask<admin::ConfigReport>(
      waiter, parts_.control_loop, waiter.loop().now() + kReloadPatience,
      [this](Answer<admin::ConfigReport> answer) { parts_.reload(std::move(answer)); });
}

Task<admin::ConfigReport> AdminNode::check(Waiter&, bool strict) {
  const config::LoadResult loaded = config::reload(config_, {.strict = strict});
  admin::ConfigReport report;
  report.ok = loaded.set != nullptr;
  report.diagnostics = loaded.diagnostics;
  report.apps = loaded.set ? loaded.set->apps.size() : config_->apps.size();
  report.changed = loaded.set ? config::changes(*config_, *loaded.set).size() : 0;
  report.needs_restart = loaded.needs_restart;
  co_return report;
}

std::vector<admin::LogLine> AdminNode::logs(const admin::LogQuery& query) {
  const bool is_known = query.app.empty() || tail_.has(query.app) || !config_->find(query.app);
  if (!is_known && read_back_.insert(query.app).second) {
    for (admin::LogLine& line : parts_.output_files.last_lines(query.app, kReadBackLines)) {
      tail_.add_old(std::move(line));
    }
  }
  return tail_.find(query);
}

std::vector<std::string> AdminNode::metrics() {
  std::vector<std::string> pieces;
  MetricsPage page([&pieces](std::string_view piece) { pieces.emplace_back(piece); });
  write_metrics(page, parts_.metrics, config_->node.reloadable.region, metric_seconds(Clock::now()),
                [this](AppId app) -> std::string_view {
                  return app.value < names_.size() ? std::string_view(names_[app.value])
                                                   : std::string_view();
                });
  if (gateway_counts_) write_gateway_counts(page, *gateway_counts_);
  page.flush();
  return pieces;
}

void AdminNode::name_app(AppId app, std::string name) {
  if (app.value >= names_.size()) names_.resize(app.value + 1);
  names_[app.value] = std::move(name);
}

}  // namespace rooster::app
