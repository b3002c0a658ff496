#include "proxy/static_path.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace rooster::proxy {
namespace {

const std::vector<config::Static> kStatics = {
    {.guest_path = "public", .folder = "public", .url_prefix = "/static"},
    {.guest_path = "img", .folder = "img", .url_prefix = "/static/img/"},
    {.guest_path = "site", .folder = "site", .url_prefix = "/docs", .index_document = "index.html"},
    {.guest_path = "/elsewhere", .url_prefix = "/away"},
};

std::string file_of(std::string_view path) {
  return static_path(kStatics, path).value_or("-");
}

TEST(StaticPath, IsWhatLiesBehindThePrefix) {
  EXPECT_EQ(file_of("/static/app.js"), "public/app.js");
  EXPECT_EQ(file_of("/static/a/b%20c.css"), "public/a/b c.css");
  EXPECT_EQ(file_of("/staticfile"), "-");
  EXPECT_EQ(file_of("/static"), "-");
  EXPECT_EQ(file_of("/static/"), "-");
  EXPECT_EQ(file_of("/other"), "-");
  EXPECT_EQ(file_of("/away/x"), "-");
}

TEST(StaticPath, TheLongestPrefixWins) {
  EXPECT_EQ(file_of("/static/img/a.png"), "img/a.png");
  EXPECT_EQ(file_of("/static/imgs/a.png"), "public/imgs/a.png");
}

TEST(StaticPath, AFolderIsItsIndexWhereThereIsOne) {
  EXPECT_EQ(file_of("/docs"), "site/index.html");
  EXPECT_EQ(file_of("/docs/"), "site/index.html");
  EXPECT_EQ(file_of("/docs/a/"), "site/a/index.html");
  EXPECT_EQ(file_of("/docs/a"), "site/a");
}

TEST(StaticPath, NeverLeadsOutOrToWhatIsHidden) {
  for (const char* path :
       {"/static/../x", "/static/%2e%2e/x", "/static/a/..%2fx", "/static/a%2fb", "/static/.env",
        "/static/.git/config", "/static/a//b", "/static/%00", "/static/%zz", "/static/%2",
        "/static/a%5cb", "/static/.", "/static//etc/passwd"}) {
    EXPECT_EQ(file_of(path), "-") << path;
  }
  EXPECT_EQ(file_of("/static/.well-known/x"), "public/.well-known/x");
}

TEST(ContentTypeOf, GoesByTheEnding) {
  EXPECT_EQ(content_type_of("a/b.HTML"), "text/html; charset=utf-8");
  EXPECT_EQ(content_type_of("a.min.js"), "text/javascript; charset=utf-8");
  EXPECT_EQ(content_type_of("a.zip"), "application/zip");
  EXPECT_EQ(content_type_of("a.aac"), "audio/aac");
  EXPECT_EQ(content_type_of("a"), "application/octet-stream");
  EXPECT_EQ(content_type_of("a.xyz"), "application/octet-stream");
}

}  // namespace
}  // namespace rooster::proxy
