/* ADBench's bundle adjustment: the reprojection error of every observation and its 2 x 15 derivatives, by
   camera, point and weight, written out. errors: 2 a row; jacobian: 2 rows of 11 + 3 + 1 an observation. */
#include <math.h>
#include <stddef.h>

static void observe(const double *restrict camera, const double *restrict point, double weight,
                    const double *restrict feature, double *restrict error, double *restrict jacobian) {
    const double *rotation = camera, *center = camera + 3;
    const double focal = camera[6], k1 = camera[9], k2 = camera[10];
    double x[3], seen[3], by_rotation[3][3], matrix[3][3];
    for (int i = 0; i < 3; i++) x[i] = point[i] - center[i];
    const double square = rotation[0] * rotation[0] + rotation[1] * rotation[1] + rotation[2] * rotation[2];
    const double angle = sqrt(square), c = cos(angle), s = sin(angle);
    double w[3];
    for (int i = 0; i < 3; i++) w[i] = rotation[i] / angle;
    const double cross[3] = {w[1] * x[2] - w[2] * x[1], w[2] * x[0] - w[0] * x[2], w[0] * x[1] - w[1] * x[0]};
    const double along = w[0] * x[0] + w[1] * x[1] + w[2] * x[2];
    const double hat[3][3] = {{0, -w[2], w[1]}, {w[2], 0, -w[0]}, {-w[1], w[0], 0}};
    /* d (e_m x X) for the derivative of the axis. */
    const double turned[3][3] = {{0, -x[2], x[1]}, {x[2], 0, -x[0]}, {-x[1], x[0], 0}};
    for (int i = 0; i < 3; i++) {
        seen[i] = x[i] * c + cross[i] * s + w[i] * along * (1 - c);
        for (int j = 0; j < 3; j++)
            matrix[i][j] = (i == j) * c + hat[i][j] * s + w[i] * w[j] * (1 - c);
    }
    for (int j = 0; j < 3; j++) {
        double dw[3], dalong = 0;
        for (int m = 0; m < 3; m++) { dw[m] = ((m == j) - w[m] * w[j]) / angle; dalong += dw[m] * x[m]; }
        for (int i = 0; i < 3; i++) {
            double dcross = 0;
            for (int m = 0; m < 3; m++) dcross += turned[m][i] * dw[m];
            by_rotation[i][j] = w[j] * (-x[i] * s + cross[i] * c + w[i] * along * s)
                + dcross * s + (dw[i] * along + w[i] * dalong) * (1 - c);
        }
    }
    const double inverse = 1 / seen[2], p[2] = {seen[0] * inverse, seen[1] * inverse};
    const double r2 = p[0] * p[0] + p[1] * p[1], distortion = 1 + r2 * (k1 + k2 * r2), slope = 2 * (k1 + 2 * k2 * r2);
    for (int e = 0; e < 2; e++) {
        double *row = jacobian + 15 * e;
        double by_p[2], by_seen[3];
        for (int i = 0; i < 2; i++)
            by_p[i] = weight * focal * ((e == i) * distortion + p[e] * slope * p[i]);
        by_seen[0] = by_p[0] * inverse;
        by_seen[1] = by_p[1] * inverse;
        by_seen[2] = -(by_p[0] * p[0] + by_p[1] * p[1]) * inverse;
        for (int j = 0; j < 3; j++) {
            double by_x = 0, by_r = 0;
            for (int i = 0; i < 3; i++) { by_x += by_seen[i] * matrix[i][j]; by_r += by_seen[i] * by_rotation[i][j]; }
            row[j] = by_r;
            row[3 + j] = -by_x;
            row[11 + j] = by_x;
        }
        row[6] = weight * p[e] * distortion;
        row[7] = weight * (e == 0);
        row[8] = weight * (e == 1);
        row[9] = weight * focal * p[e] * r2;
        row[10] = weight * focal * p[e] * r2 * r2;
        const double off = p[e] * distortion * focal + camera[7 + e] - feature[e];
        row[14] = off;
        error[e] = weight * off;
    }
}

void adjust(ptrdiff_t rows, const double *cameras, const double *points, const double *weights,
            const double *features, double *errors, double *jacobian) {
    for (ptrdiff_t i = 0; i < rows; i++)
        observe(cameras + 11 * i, points + 3 * i, weights[i], features + 2 * i, errors + 2 * i, jacobian + 30 * i);
}
