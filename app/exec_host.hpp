// ExecHost: commands inside machines. The admin side asks on the background thread; control wakes
// the machine, holds a lease on it, and has the keeper start the command.
#pragma once

#include "admin/exec_host.hpp"
#include "app/control.hpp"
#include "core/ask.hpp"
#include "keeper/client.hpp"
#include "machines/load.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

namespace rooster::app {

class ExecHost final : public admin::ExecHost {
 public:
  struct Parts {
    Loop& background;
    Loop& control_loop;
    Control& control;
    keeper::Client& keeper;
    bool is_root = false;               ///< the keeper is
    std::function<bool()> may_be_root;  ///< [rooster] exec_as_root; on control's thread
  };
  explicit ExecHost(Parts parts);
  ~ExecHost() override;

  /// On the background thread.
  Task<std::unique_ptr<admin::ExecProcess>> start(admin::ExecSpec spec, Notice notice,
                                                  Waiter& waiter) override;

  /// On control's thread: the keeper's word that a command has ended.
  void on_exited(const keeper::ExecExited& exited);
  /// On control's thread, before its loop ends.
  void stop();

 private:
  class Process;
  /// What the background thread knows of a command; belongs to it.
  struct Ended {
    std::optional<std::uint32_t> status;
    std::move_only_function<void()> tell;
  };
  /// What control knows of it.
  struct Running {
    machines::AppViewPtr view;
    std::string machine;
    machines::Lease lease;
    std::shared_ptr<Ended> ended;
  };
  /// An attempt's outcome.
  struct Attempt {
    /// Null: the machine does not run yet. Dropped where nobody waits for it any more.
    std::unique_ptr<admin::ExecProcess> process;
    std::string notice;  ///< what the person who waits should know
  };

  void attempt(const admin::ExecSpec& spec, Answer<Attempt> answer);
  Result<> may_run(const admin::ExecSpec& spec, const config::AppConfig& config) const;
  Result<std::string> wake(const admin::ExecSpec& spec, const machines::AppView& view,
                           const machines::MachineView& machine);
  void execute(const admin::ExecSpec& spec, machines::AppViewPtr view,
               const machines::MachineView& machine, Answer<Attempt> answer);
  void hold(Running& running);
  /// Nobody is there for it any more.
  void abandon(std::uint64_t exec);
  void signal(std::uint64_t exec, int number);
  void each_second();

  Parts parts_;
  std::map<std::uint64_t, Running> running_;  // control's
  std::unique_ptr<Timer> second_;             // control's
};

}  // namespace rooster::app
