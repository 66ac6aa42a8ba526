/* Jacobians of an arm's hand by its six joints: each joint's axis crossed with the lever to the hand. A link
   is its length, offset, and the sine and cosine of its twist. out: 3 x rows x 6. */
#include <math.h>
#include <stddef.h>
enum { JOINTS = 6 };
void jacobians(ptrdiff_t rows, const double *angles, const double *links, double *out) {
    for (ptrdiff_t row = 0; row < rows; row++) {
        double axis[JOINTS][3], origin[JOINTS + 1][3] = {{0}}, R[3][3] = {{1, 0, 0}, {0, 1, 0}, {0, 0, 1}};
        for (int k = 0; k < JOINTS; k++) {
            const double length = links[4 * k], offset = links[4 * k + 1];
            const double st = links[4 * k + 2], ct = links[4 * k + 3];
            const double s = sin(angles[row * JOINTS + k]), c = cos(angles[row * JOINTS + k]);
            for (int i = 0; i < 3; i++) {
                const double x = R[i][0] * c + R[i][1] * s, y = R[i][1] * c - R[i][0] * s, z = R[i][2];
                axis[k][i] = z;
                origin[k + 1][i] = origin[k][i] + x * length + z * offset;
                R[i][0] = x; R[i][1] = y * ct + z * st; R[i][2] = z * ct - y * st;
            }
        }
        for (int k = 0; k < JOINTS; k++) {
            double lever[3];
            for (int i = 0; i < 3; i++) lever[i] = origin[JOINTS][i] - origin[k][i];
            for (int i = 0; i < 3; i++) {
                const int a = (i + 1) % 3, b = (i + 2) % 3;
                out[(i * rows + row) * JOINTS + k] = axis[k][a] * lever[b] - axis[k][b] * lever[a];
            }
        }
    }
}
