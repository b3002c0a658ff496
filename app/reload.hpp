// Reload: new configuration, all or nothing. Files are read on the background thread; control
// applies what changed. One reload runs at a time; those asked for meanwhile are answered together
// by the next one.
#pragma once

#include "admin/node.hpp"
#include "app/certificates.hpp"
#include "app/control.hpp"
#include "config/config_set.hpp"
#include "core/ask.hpp"
#include "core/log.hpp"
#include "core/loop.hpp"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace rooster::app {

/// Control's thread, but for the reading itself.
class Reload {
 public:
  struct Parts {
    Loop& control_loop;
    Loop& background;
    Control& control;
    Certificates& certificates;  ///< touched on the background thread only
    Log& log;
    std::function<void(std::shared_ptr<const config::ConfigSet>)> adopt_config;
    std::function<void(const std::shared_ptr<const tls::CertificateStore>&)> adopt_certificates;
    std::shared_ptr<const config::ConfigSet> config;
  };
  explicit Reload(Parts parts) : parts_(std::move(parts)) { watch_if_wanted(); }
  ~Reload();

  void request(Answer<admin::ConfigReport> answer);
  /// "" where the last one went well.
  const std::string& last_error() const { return last_error_; }

 private:
  void begin();
  void finish(config::LoadResult loaded, std::shared_ptr<const tls::CertificateStore> store);
  void answer_all(const admin::ConfigReport& report);
  void watch_if_wanted();

  Parts parts_;
  std::vector<Answer<admin::ConfigReport>> running_;
  std::vector<Answer<admin::ConfigReport>> next_;
  bool is_running_ = false;
  std::string last_error_;
  Descriptor inotify_;
  std::unique_ptr<Watch> watch_;
  std::unique_ptr<Timer> settle_;
  std::string watched_folder_;
};

}  // namespace rooster::app
