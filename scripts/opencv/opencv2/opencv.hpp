// Takes the place of OpenCV's catch-all header for gocv, which includes it
// everywhere. OpenCV's own wants the headers of every module, and with them the
// 1 GB of libopencv-dev; Sightline uses core and imgproc.
//
// gocv also compiles wrappers of the image file functions. They are declared here
// and defined nowhere: the linker drops the wrappers, and whoever calls
// gocv.IMRead is told so when linking, not on the device.

#ifndef SIGHTLINE_OPENCV_HPP
#define SIGHTLINE_OPENCV_HPP

#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>

namespace cv {

Mat imread(const String &file, int flags);
bool imreadmulti(const String &file, std::vector<Mat> &mats, int flags);
bool imreadmulti(const String &file, std::vector<Mat> &mats, int start, int count, int flags);
bool imwrite(const String &file, InputArray image, const std::vector<int> &params = std::vector<int>());
bool imencode(const String &ext, InputArray image, std::vector<uchar> &buffer,
              const std::vector<int> &params = std::vector<int>());
Mat imdecode(InputArray buffer, int flags);
Mat imdecode(InputArray buffer, int flags, Mat *image);

}  // namespace cv

#endif
